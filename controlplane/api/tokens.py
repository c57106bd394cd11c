# SPDX-License-Identifier: Apache-2.0
"""`/api/v1/tokens`: API tokens; a new one's text is answered once."""

from __future__ import annotations

from typing import Any

from marshmallow import fields, validate

from controlplane.api import schema
from controlplane.api.auth import authenticated, current_actor, current_core
from controlplane.api.blueprint import Blueprint
from controlplane.api.idempotency import idempotent
from controlplane.domain.permission import Permission
from controlplane.services import tokens

blueprint = Blueprint("tokens", __name__, url_prefix="/tokens", description="API tokens.")


class TokenSchema(schema.AnswerSchema):
    """A token. Its text is not kept; `prefix` is what it begins with."""

    id = schema.text(example="tok_01jd2k3m4n5p6q7r8s9tavbwcx")
    user_id = schema.text()
    name = schema.text(example="pipeline")
    prefix = schema.text(example="0a1b2c3d")
    scopes = fields.List(
        fields.String(),
        required=True,
        metadata={"description": "Permissions that it is narrowed to; empty for no narrowing."},
    )
    source = schema.text("The door that it is for.", example="ci")
    created_at = schema.time()
    expires_at = schema.time(nullable=True)
    revoked_at = schema.time(nullable=True)
    last_used_at = schema.time(nullable=True)


class MadeTokenSchema(TokenSchema):
    """A token with its text, this once."""

    token = schema.text(example="tg_0a1b2c3d_...")


class NewTokenSchema(schema.StrictSchema):
    """A token to be made: one's own unless `user_id` is given. One's own is never wider than the one asked with."""

    name = fields.String(required=True, validate=validate.Length(1, 255), metadata={"example": "pipeline"})
    user_id = fields.String(allow_none=True, validate=validate.Length(1, schema.LONGEST_ID))
    expires_in_seconds = fields.Integer(strict=True, validate=validate.Range(60, 3650 * 86400))
    expires_at = fields.AwareDateTime(format="iso", metadata={"example": "2030-01-31T00:00:00Z"})
    scopes = fields.List(
        fields.String(validate=validate.OneOf([str(permission) for permission in Permission])),
        validate=validate.Length(0, len(Permission)),
        metadata={"description": "Permissions to narrow it to."},
    )
    source = fields.String(validate=validate.OneOf(tokens.SOURCES), metadata={"example": "ci"})


class TokenArgs(schema.PageArgs):
    """Filters of the list."""

    user_id = schema.id_filter("Whose they are.")
    is_revoked = fields.Boolean()


@blueprint.route("", methods=["POST"])
@authenticated
@idempotent
@blueprint.arguments(NewTokenSchema)
@blueprint.response(201, MadeTokenSchema)
def create_token(body: dict[str, Any]) -> dict[str, Any]:
    """Make a token."""
    return tokens.create(current_core(), current_actor(), body)


@blueprint.route("")
@authenticated
@blueprint.arguments(TokenArgs, location="query")
@blueprint.response(200, schema.page_of(TokenSchema))
def list_tokens(query: dict[str, Any]) -> dict[str, Any]:
    """List tokens."""
    filters, page = schema.page_request(query)
    return tokens.list_(current_core(), current_actor(), filters, page)


@blueprint.route("/<string:token_id>")
@authenticated
@blueprint.response(200, TokenSchema)
def get_token(token_id: str) -> dict[str, Any]:
    """Read a token."""
    return tokens.get(current_core(), current_actor(), token_id)


@blueprint.route("/<string:token_id>", methods=["DELETE"])
@authenticated
@blueprint.response(204)
def revoke_token(token_id: str) -> None:
    """Revoke a token; it stays listed."""
    tokens.revoke(current_core(), current_actor(), token_id)
