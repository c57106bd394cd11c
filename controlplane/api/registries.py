# SPDX-License-Identifier: Apache-2.0
"""`/api/v1/registries`: a project's credentials for container registries."""

from __future__ import annotations

from typing import Any

from marshmallow import fields, validate

from controlplane.api import schema
from controlplane.api.auth import current_actor, current_core, requires
from controlplane.api.blueprint import Blueprint
from controlplane.api.idempotency import idempotent
from controlplane.domain.permission import Permission
from controlplane.services import registries

SERVER = validate.Regexp(
    r"\A[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(:[0-9]{1,5})?\Z", error="must be HOST or HOST:PORT"
)

blueprint = Blueprint(
    "registries", __name__, url_prefix="/registries", description="Credentials for container registries."
)


class RegistrySchema(schema.AnswerSchema):
    """A credential, without its password."""

    id = schema.text(example="reg_01jd2k3m4n5p6q7r8s9tavbwcx")
    project_id = schema.text()
    server = schema.text(example="registry.example.com:5000")
    username = schema.text(example="puller")
    has_password = fields.Boolean(required=True)
    created_at = schema.time()


class ChangeRegistrySchema(schema.StrictSchema):
    """What may be changed."""

    username = fields.String(validate=validate.Length(1, 255), metadata={"example": "puller"})
    password = fields.String(validate=validate.Length(1, 4096), load_only=True)


class NewRegistrySchema(schema.StrictSchema):
    """A credential to be kept."""

    project_id = schema.project_word()
    server = fields.String(required=True, validate=SERVER, metadata={"example": "registry.example.com:5000"})
    username = fields.String(required=True, validate=validate.Length(1, 255), metadata={"example": "puller"})
    password = fields.String(required=True, validate=validate.Length(1, 4096), load_only=True)


class RegistryArgs(schema.PageArgs):
    """Filters of the list."""

    project_id = schema.word_filter("Id or name of the project.")


@blueprint.route("", methods=["POST"])
@requires(Permission.CREDENTIAL_WRITE)
@idempotent
@blueprint.arguments(NewRegistrySchema)
@blueprint.response(201, RegistrySchema)
def create_registry(body: dict[str, Any]) -> dict[str, Any]:
    """Keep a credential."""
    return registries.create(current_core(), current_actor(), body)


@blueprint.route("")
@requires(Permission.TARGET_READ)
@blueprint.arguments(RegistryArgs, location="query")
@blueprint.response(200, schema.page_of(RegistrySchema))
def list_registries(query: dict[str, Any]) -> dict[str, Any]:
    """List credentials."""
    filters, page = schema.page_request(query)
    return registries.list_(current_core(), current_actor(), filters, page)


@blueprint.route("/<string:registry_id>")
@requires(Permission.TARGET_READ)
@blueprint.response(200, RegistrySchema)
def get_registry(registry_id: str) -> dict[str, Any]:
    """Read a credential."""
    return registries.get(current_core(), current_actor(), registry_id)


@blueprint.route("/<string:registry_id>", methods=["PATCH"])
@requires(Permission.CREDENTIAL_WRITE)
@blueprint.arguments(ChangeRegistrySchema)
@blueprint.response(200, RegistrySchema)
def update_registry(body: dict[str, Any], registry_id: str) -> dict[str, Any]:
    """Change user name or password."""
    return registries.update(current_core(), current_actor(), registry_id, body)


@blueprint.route("/<string:registry_id>", methods=["DELETE"])
@requires(Permission.CREDENTIAL_WRITE)
@blueprint.response(204)
def delete_registry(registry_id: str) -> None:
    """Forget a credential."""
    registries.delete(current_core(), current_actor(), registry_id)
