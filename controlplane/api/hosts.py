# SPDX-License-Identifier: Apache-2.0
"""`/api/v1/hosts`: machines that are reached over SSH, and the keys by which they are known."""

from __future__ import annotations

from typing import Any

from marshmallow import fields, validate

from controlplane.api import schema
from controlplane.api.auth import current_actor, current_core, requires
from controlplane.api.blueprint import Blueprint
from controlplane.api.idempotency import idempotent
from controlplane.domain.permission import Permission
from controlplane.services import hosts

blueprint = Blueprint("hosts", __name__, url_prefix="/hosts", description="Machines, reached over SSH.")


class HostSchema(schema.AnswerSchema):
    """A host. Its secrets are never answered, only whether there are any."""

    id = schema.text(example="hst_01jd2k3m4n5p6q7r8s9tavbwcx")
    project_id = schema.text()
    name = schema.text(example="web-1")
    address = schema.text(example="192.0.2.10")
    port = fields.Integer(required=True, metadata={"example": 22})
    user = schema.text(example="deploy")
    become = fields.Boolean(required=True, metadata={"description": "Whether it becomes root with sudo."})
    jump_host_id = schema.text("The host that it is reached through.", nullable=True)
    host_key = schema.text("The public key line that the host showed.", nullable=True)
    host_key_fingerprint = schema.text(nullable=True, example="SHA256:...")
    host_key_status = schema.text("unknown fetched pinned; only a pinned key is used.", example="pinned")
    has_private_key = fields.Boolean(required=True)
    has_password = fields.Boolean(required=True)
    has_become_password = fields.Boolean(required=True)
    version = fields.Integer(required=True)
    created_at = schema.time()


class FetchedKeySchema(HostSchema):
    """A host with the key that it shows now."""

    fingerprint = schema.text("To be compared with the host's console.", example="SHA256:...")
    key_type = schema.text(example="ssh-ed25519")


class ReachedSchema(schema.AnswerSchema):
    """The login worked."""

    host_id = schema.text()
    reachable = fields.Boolean(required=True)


class ChangeHostSchema(schema.StrictSchema):
    """What may be changed. A secret that is null is removed. Another address or port loses the pinned key."""

    name = fields.String(validate=schema.NAME, metadata={"example": "web-1"})
    address = fields.String(validate=validate.Length(1, 253), metadata={"example": "192.0.2.10"})
    port = fields.Integer(strict=True, validate=validate.Range(1, 65535))
    user = fields.String(validate=validate.Length(1, 32), metadata={"example": "deploy"})
    private_key = fields.String(allow_none=True, load_only=True, validate=validate.Length(1, 65536))
    password = fields.String(allow_none=True, load_only=True, validate=validate.Length(1, 1024))
    become = fields.Boolean()
    become_password = fields.String(allow_none=True, load_only=True, validate=validate.Length(1, 1024))
    jump_host_id = fields.String(allow_none=True, validate=validate.Length(1, schema.LONGEST_ID))


class NewHostSchema(ChangeHostSchema):
    """A host to be made, with a private key or a password."""

    project_id = schema.project_word()
    name = fields.String(required=True, validate=schema.NAME, metadata={"example": "web-1"})
    address = fields.String(
        required=True, validate=validate.Length(1, 253), metadata={"example": "192.0.2.10"}
    )
    user = fields.String(required=True, validate=validate.Length(1, 32), metadata={"example": "deploy"})


class FingerprintSchema(schema.StrictSchema):
    """The fingerprint that was compared with the host's console."""

    fingerprint = fields.String(
        required=True, validate=validate.Length(1, 100), metadata={"example": "SHA256:..."}
    )


class HostArgs(schema.PageArgs):
    """Filters of the list."""

    project_id = schema.word_filter("Id or name of the project.")
    name = schema.word_filter("The name.")
    host_key_status = fields.String(validate=validate.OneOf(("unknown", "fetched", "pinned")))


@blueprint.route("", methods=["POST"])
@requires(Permission.ENVIRONMENT_WRITE)
@idempotent
@blueprint.arguments(NewHostSchema)
@blueprint.response(201, HostSchema)
def create_host(body: dict[str, Any]) -> dict[str, Any]:
    """Make a host."""
    return hosts.create(current_core(), current_actor(), body)


@blueprint.route("")
@requires(Permission.ENVIRONMENT_READ)
@blueprint.arguments(HostArgs, location="query")
@blueprint.response(200, schema.page_of(HostSchema))
def list_hosts(query: dict[str, Any]) -> dict[str, Any]:
    """List hosts."""
    filters, page = schema.page_request(query)
    return hosts.list_(current_core(), current_actor(), filters, page)


@blueprint.route("/<string:host_id>")
@requires(Permission.ENVIRONMENT_READ)
@blueprint.response(200, HostSchema)
def get_host(host_id: str) -> dict[str, Any]:
    """Read a host."""
    return hosts.get(current_core(), current_actor(), host_id)


@blueprint.route("/<string:host_id>", methods=["PATCH"])
@requires(Permission.ENVIRONMENT_WRITE)
@blueprint.arguments(ChangeHostSchema)
@blueprint.response(200, HostSchema)
def update_host(body: dict[str, Any], host_id: str) -> dict[str, Any]:
    """Change a host."""
    return hosts.update(current_core(), current_actor(), host_id, body)


@blueprint.route("/<string:host_id>", methods=["DELETE"])
@requires(Permission.ENVIRONMENT_WRITE)
@blueprint.response(204)
def delete_host(host_id: str) -> None:
    """Delete a host that no environment uses."""
    hosts.delete(current_core(), current_actor(), host_id)


@blueprint.route("/<string:host_id>/host-key/fetch", methods=["POST"])
@requires(Permission.ENVIRONMENT_WRITE)
@blueprint.response(200, FetchedKeySchema)
@blueprint.alt_response(502, schema=schema.ProblemSchema, content_type="application/problem+json")
def fetch_host_key(host_id: str) -> dict[str, Any]:
    """Ask the host for its key; it is trusted only once it is confirmed."""
    return hosts.fetch_host_key(current_core(), current_actor(), host_id)


@blueprint.route("/<string:host_id>/host-key/confirm", methods=["POST"])
@requires(Permission.ENVIRONMENT_WRITE)
@idempotent
@blueprint.arguments(FingerprintSchema)
@blueprint.response(200, HostSchema)
@blueprint.alt_response(502, schema=schema.ProblemSchema, content_type="application/problem+json")
def confirm_host_key(body: dict[str, Any], host_id: str) -> dict[str, Any]:
    """Pin the fetched key, if it has this fingerprint."""
    return hosts.confirm_host_key(current_core(), current_actor(), host_id, body["fingerprint"])


@blueprint.route("/<string:host_id>/check", methods=["POST"])
@requires(Permission.ENVIRONMENT_WRITE)
@blueprint.response(200, ReachedSchema)
@blueprint.alt_response(502, schema=schema.ProblemSchema, content_type="application/problem+json")
def check_host(host_id: str) -> dict[str, Any]:
    """Log in to the host and leave again."""
    return hosts.check(current_core(), current_actor(), host_id)
