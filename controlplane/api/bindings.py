# SPDX-License-Identifier: Apache-2.0
"""`/api/v1/bindings`: who holds which role where."""

from __future__ import annotations

from typing import Any

from marshmallow import fields, validate

from controlplane.api import schema
from controlplane.api.auth import authenticated, current_actor, current_core, requires
from controlplane.api.blueprint import Blueprint
from controlplane.api.idempotency import idempotent
from controlplane.domain.permission import ROLES, SCOPE_TYPES, Permission
from controlplane.services import bindings

blueprint = Blueprint("bindings", __name__, url_prefix="/bindings", description="Who holds which role where.")


class BindingSchema(schema.AnswerSchema):
    """A role that a user or a token holds in a scope."""

    id = schema.text(example="bnd_01jd2k3m4n5p6q7r8s9tavbwcx")
    subject_type = schema.text("user token", example="user")
    subject_id = schema.text()
    role = schema.text(example="approver")
    scope_type = schema.text("global project team", example="project")
    scope_id = schema.text("Empty for global.")
    created_at = schema.time()


class NewBindingSchema(schema.StrictSchema):
    """A role to be given: by an administrator of that scope, who holds all that the role gives."""

    subject_type = fields.String(required=True, validate=validate.OneOf(("user", "token")))
    subject_id = fields.String(required=True, validate=validate.Length(1, schema.LONGEST_ID))
    role = fields.String(required=True, validate=validate.OneOf(tuple(ROLES)))
    scope_type = fields.String(required=True, validate=validate.OneOf(SCOPE_TYPES))
    scope_id = fields.String(validate=validate.Length(0, schema.LONGEST_ID))


class BindingArgs(schema.PageArgs):
    """Filters of the list."""

    subject_type = fields.String(validate=validate.OneOf(("user", "token")))
    subject_id = schema.id_filter("The user or token.")
    role = fields.String(validate=validate.OneOf(tuple(ROLES)))
    scope_type = fields.String(validate=validate.OneOf(SCOPE_TYPES))
    scope_id = schema.id_filter("The project or team.")


@blueprint.route("", methods=["POST"])
@requires(Permission.ADMIN)
@idempotent
@blueprint.arguments(NewBindingSchema)
@blueprint.response(201, BindingSchema)
def create_binding(body: dict[str, Any]) -> dict[str, Any]:
    """Make a binding."""
    return bindings.create(current_core(), current_actor(), body)


@blueprint.route("")
@authenticated
@blueprint.arguments(BindingArgs, location="query")
@blueprint.response(200, schema.page_of(BindingSchema))
def list_bindings(query: dict[str, Any]) -> dict[str, Any]:
    """List the bindings of what you administer, and your own."""
    filters, page = schema.page_request(query)
    return bindings.list_(current_core(), current_actor(), filters, page)


@blueprint.route("/<string:binding_id>")
@authenticated
@blueprint.response(200, BindingSchema)
def get_binding(binding_id: str) -> dict[str, Any]:
    """Read a binding."""
    return bindings.get(current_core(), current_actor(), binding_id)


@blueprint.route("/<string:binding_id>", methods=["DELETE"])
@requires(Permission.ADMIN)
@blueprint.response(204)
def delete_binding(binding_id: str) -> None:
    """Take a role away."""
    bindings.delete(current_core(), current_actor(), binding_id)
