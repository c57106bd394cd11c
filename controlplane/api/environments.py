# SPDX-License-Identifier: Apache-2.0
"""`/api/v1/environments`: stages with a runtime and hosts."""

from __future__ import annotations

from typing import Any

from marshmallow import fields, validate

from controlplane.api import schema
from controlplane.api.auth import current_actor, current_core, requires
from controlplane.api.blueprint import Blueprint
from controlplane.api.idempotency import idempotent
from controlplane.domain.environment import MODES, NODE_ROLES, RUNTIMES, STAGES
from controlplane.domain.permission import Permission
from controlplane.services import environments

MOST_NODES = 1000

blueprint = Blueprint(
    "environments", __name__, url_prefix="/environments", description="Stages with a runtime and hosts."
)


class NodeSchema(schema.AnswerSchema):
    """A host of an environment."""

    host_id = schema.text(example="hst_01jd2k3m4n5p6q7r8s9tavbwcx")
    role = schema.text(example="compose_manager")
    name = schema.text("The host's name.", example="web-1")


class EnvironmentSchema(schema.AnswerSchema):
    """An environment."""

    id = schema.text(example="env_01jd2k3m4n5p6q7r8s9tavbwcx")
    project_id = schema.text()
    name = schema.text(example="production")
    stage = schema.text("development staging production", example="production")
    runtime_type = schema.text("compose k8s", example="compose")
    mode = schema.text("platform_managed external_managed", example="external_managed")
    status = schema.text("draft installing ready failed offline", example="ready")
    nodes = fields.List(fields.Nested(NodeSchema), required=True)
    cluster_id = schema.text("The cluster that its install made.", nullable=True)
    health = schema.document("What the last check found: `healthy`, and `hosts` by name; empty before.")
    health_checked_at = schema.time(nullable=True)
    created_at = schema.time()


class SetNodeSchema(schema.StrictSchema):
    """A host that is to belong to an environment."""

    host_id = fields.String(required=True, validate=validate.Length(1, schema.LONGEST_ID))
    role = fields.String(
        validate=validate.OneOf([role for roles in NODE_ROLES.values() for role in roles]),
        metadata={"description": "compose: compose_worker compose_manager; k8s: worker control_plane."},
    )


def _host_ids() -> fields.List:
    return fields.List(
        fields.String(validate=validate.Length(1, schema.LONGEST_ID)),
        validate=validate.Length(0, MOST_NODES),
        metadata={"description": "Nodes with the usual role; instead of `nodes`."},
    )


class ChangeEnvironmentSchema(schema.StrictSchema):
    """What may be changed. The stage of an environment with targets stays."""

    name = fields.String(validate=schema.NAME, metadata={"example": "production"})
    stage = fields.String(validate=validate.OneOf(STAGES))
    nodes = fields.List(fields.Nested(SetNodeSchema), validate=validate.Length(0, MOST_NODES))
    host_ids = _host_ids()


class NewEnvironmentSchema(ChangeEnvironmentSchema):
    """An environment to be made."""

    project_id = schema.project_word()
    name = fields.String(required=True, validate=schema.NAME, metadata={"example": "production"})
    stage = fields.String(required=True, validate=validate.OneOf(STAGES))
    runtime_type = fields.String(load_default="compose", validate=validate.OneOf(RUNTIMES))
    mode = fields.String(load_default="external_managed", validate=validate.OneOf(MODES))


class EnvironmentArgs(schema.PageArgs):
    """Filters of the list."""

    project_id = schema.word_filter("Id or name of the project.")
    name = schema.word_filter("The name.")
    stage = fields.String(validate=validate.OneOf(STAGES))
    runtime_type = fields.String(validate=validate.OneOf(RUNTIMES))


@blueprint.route("", methods=["POST"])
@requires(Permission.ENVIRONMENT_WRITE)
@idempotent
@blueprint.arguments(NewEnvironmentSchema)
@blueprint.response(201, EnvironmentSchema)
def create_environment(body: dict[str, Any]) -> dict[str, Any]:
    """Make an environment."""
    return environments.create(current_core(), current_actor(), body)


@blueprint.route("")
@requires(Permission.ENVIRONMENT_READ)
@blueprint.arguments(EnvironmentArgs, location="query")
@blueprint.response(200, schema.page_of(EnvironmentSchema))
def list_environments(query: dict[str, Any]) -> dict[str, Any]:
    """List environments."""
    filters, page = schema.page_request(query)
    return environments.list_(current_core(), current_actor(), filters, page)


@blueprint.route("/<string:environment_id>")
@requires(Permission.ENVIRONMENT_READ)
@blueprint.response(200, EnvironmentSchema)
def get_environment(environment_id: str) -> dict[str, Any]:
    """Read an environment."""
    return environments.get(current_core(), current_actor(), environment_id)


@blueprint.route("/<string:environment_id>", methods=["PATCH"])
@requires(Permission.ENVIRONMENT_WRITE)
@blueprint.arguments(ChangeEnvironmentSchema)
@blueprint.response(200, EnvironmentSchema)
def update_environment(body: dict[str, Any], environment_id: str) -> dict[str, Any]:
    """Change an environment."""
    return environments.update(current_core(), current_actor(), environment_id, body)


@blueprint.route("/<string:environment_id>/nodes", methods=["PUT"])
@requires(Permission.ENVIRONMENT_WRITE)
@blueprint.arguments(SetNodeSchema(many=True))
@blueprint.response(200, EnvironmentSchema)
def set_environment_nodes(body: list[dict[str, Any]], environment_id: str) -> dict[str, Any]:
    """Replace the nodes of an environment."""
    return environments.set_nodes(current_core(), current_actor(), environment_id, body)


@blueprint.route("/<string:environment_id>", methods=["DELETE"])
@requires(Permission.ENVIRONMENT_WRITE)
@blueprint.response(204)
def delete_environment(environment_id: str) -> None:
    """Delete an environment that has no target."""
    environments.delete(current_core(), current_actor(), environment_id)
