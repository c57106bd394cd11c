# SPDX-License-Identifier: Apache-2.0
"""`/api/v1/users`: people and machine accounts."""

from __future__ import annotations

from typing import Any

from marshmallow import fields, validate

from controlplane.api import schema
from controlplane.api.auth import authenticated, current_actor, current_core, requires
from controlplane.api.blueprint import Blueprint
from controlplane.api.idempotency import idempotent
from controlplane.domain.permission import Permission
from controlplane.services import users

blueprint = Blueprint("users", __name__, url_prefix="/users", description="People and machine accounts.")


class UserSchema(schema.AnswerSchema):
    """A user. A password is never answered, only whether there is one."""

    id = schema.text(example="usr_01jd2k3m4n5p6q7r8s9tavbwcx")
    name = schema.text(example="approver")
    display_name = schema.text()
    is_disabled = fields.Boolean(required=True)
    has_password = fields.Boolean(required=True)
    created_at = schema.time()


class ChangeUserSchema(schema.StrictSchema):
    """What may be changed. A password that is null is removed: tokens are then the only way in."""

    display_name = fields.String(validate=validate.Length(0, 255))
    password = fields.String(allow_none=True, load_only=True, validate=validate.Length(12, 1024))
    is_disabled = fields.Boolean()


class NewUserSchema(schema.StrictSchema):
    """A user to be made, who holds no role yet."""

    name = fields.String(
        required=True,
        validate=validate.Regexp(
            r"\A[A-Za-z0-9]([A-Za-z0-9._@-]{0,253}[A-Za-z0-9])?\Z",
            error="must be letters, digits and . _ @ -, and begin and end with a letter or digit",
        ),
        metadata={"example": "approver"},
    )
    display_name = fields.String(validate=validate.Length(0, 255))
    password = fields.String(allow_none=True, load_only=True, validate=validate.Length(12, 1024))


class UserArgs(schema.PageArgs):
    """Filters of the list."""

    name = schema.word_filter("The name.")


@blueprint.route("", methods=["POST"])
@requires(Permission.ADMIN)
@idempotent
@blueprint.arguments(NewUserSchema)
@blueprint.response(201, UserSchema)
def create_user(body: dict[str, Any]) -> dict[str, Any]:
    """Make a user."""
    return users.create(current_core(), current_actor(), body)


@blueprint.route("")
@requires(Permission.ADMIN)
@blueprint.arguments(UserArgs, location="query")
@blueprint.response(200, schema.page_of(UserSchema))
def list_users(query: dict[str, Any]) -> dict[str, Any]:
    """List users."""
    filters, page = schema.page_request(query)
    return users.list_(current_core(), current_actor(), filters, page)


@blueprint.route("/<string:user_id>")
@authenticated
@blueprint.response(200, UserSchema)
def get_user(user_id: str) -> dict[str, Any]:
    """Read a user."""
    return users.get(current_core(), current_actor(), user_id)


@blueprint.route("/<string:user_id>", methods=["PATCH"])
@requires(Permission.ADMIN)
@blueprint.arguments(ChangeUserSchema)
@blueprint.response(200, UserSchema)
def update_user(body: dict[str, Any], user_id: str) -> dict[str, Any]:
    """Change a user."""
    return users.update(current_core(), current_actor(), user_id, body)


@blueprint.route("/<string:user_id>", methods=["DELETE"])
@requires(Permission.ADMIN)
@blueprint.response(204)
def delete_user(user_id: str) -> None:
    """Delete a user, with their tokens and bindings."""
    users.delete(current_core(), current_actor(), user_id)
