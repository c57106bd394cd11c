# SPDX-License-Identifier: Apache-2.0
"""`/api/v1/me`: who the caller is, and what they may do where."""

from __future__ import annotations

from typing import Any

from marshmallow import fields

from controlplane.api import schema
from controlplane.api.auth import authenticated, current_actor
from controlplane.api.blueprint import Blueprint
from controlplane.domain.permission import Permission, Reach, reach

blueprint = Blueprint("me", __name__, url_prefix="/me", description="Who the caller is.")


class RoleSchema(schema.AnswerSchema):
    """A role that is held in a scope."""

    role = schema.text(example="approver")
    scope_type = schema.text(example="project")
    scope_id = schema.text()


class MeSchema(schema.AnswerSchema):
    """The caller."""

    id = schema.text(example="usr_01jd2k3m4n5p6q7r8s9tavbwcx")
    name = schema.text(example="requester")
    source = schema.text("The door that the token is for.", example="cli")
    token_id = schema.text(nullable=True)
    roles = fields.List(fields.Nested(RoleSchema), required=True)
    scopes = fields.List(
        fields.String(),
        required=True,
        metadata={"description": "What the token is narrowed to; empty for nothing."},
    )
    permissions = fields.List(
        fields.String(), required=True, metadata={"description": "What is permitted somewhere."}
    )


@blueprint.route("")
@authenticated
@blueprint.response(200, MeSchema)
def get_me() -> dict[str, Any]:
    """Say who asks."""
    actor = current_actor()
    return {
        "id": actor.id,
        "name": actor.name,
        "source": actor.source,
        "token_id": actor.token_id,
        "roles": [
            {"role": grant.role, "scope_type": grant.scope_type, "scope_id": grant.scope_id}
            for grant in actor.grants
        ],
        "scopes": sorted(actor.ceiling or ()),
        "permissions": sorted(str(one) for one in Permission if reach(actor, one) != Reach()),
    }
