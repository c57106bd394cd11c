# SPDX-License-Identifier: Apache-2.0
"""`/api/v1/deploy/targets`: where a service is released, and what runs there."""

from __future__ import annotations

from typing import Any

from marshmallow import fields, validate

from controlplane.api import schema
from controlplane.api.auth import current_actor, current_core, requires
from controlplane.api.blueprint import Blueprint
from controlplane.api.idempotency import idempotent
from controlplane.api.jobs import JobSchema
from controlplane.api.releases import ReleaseSchema
from controlplane.domain.permission import Permission
from controlplane.services import target_status, targets

blueprint = Blueprint(
    "targets", __name__, url_prefix="/deploy/targets", description="Where a service is released."
)


class TargetSchema(schema.AnswerSchema):
    """A target: an environment and some of its hosts, or a cluster and a namespace of it."""

    id = schema.text(example="tgt_01jd2k3m4n5p6q7r8s9tavbwcx")
    project_id = schema.text()
    name = schema.text(example="shop-production")
    environment_id = schema.text()
    runtime_type = schema.text(example="compose")
    host_ids = fields.List(fields.String(), required=True)
    cluster_id = schema.text("Of a Kubernetes target.", nullable=True)
    namespace = schema.text("Of a Kubernetes target.", nullable=True, example="shop")
    cluster_scoped = fields.Boolean(
        required=True, metadata={"description": "Whether releases may hold objects that are in no namespace."}
    )
    cluster_access = schema.document(
        "What the last look at the credential found: ok, checked_at, error_key, detail, lacking, "
        "namespace_exists, warning."
    )
    status_at = schema.time("When its hosts were looked at last.", nullable=True)
    created_at = schema.time()


class TargetStatusSchema(schema.AnswerSchema):
    """What the last look at a target's hosts found, and the releases that run there."""

    target_id = schema.text()
    checked_at = schema.time(nullable=True)
    hosts = schema.document("What each host answered, by its name.")
    drift = fields.List(
        fields.Raw(), required=True, metadata={"description": "What differs from what was released."}
    )
    releases = fields.List(fields.Nested(ReleaseSchema), required=True)


def _host_ids(description: str) -> fields.List:
    return fields.List(
        fields.String(validate=validate.Length(1, schema.LONGEST_ID)),
        validate=validate.Length(0, 1000),
        metadata={"description": description},
    )


def _cluster_id() -> fields.String:
    return fields.String(
        validate=validate.Length(1, 63), metadata={"description": "Id or name of a cluster of the project."}
    )


def _namespace() -> fields.String:
    return fields.String(
        validate=schema.NAME, metadata={"description": "Where releases go.", "example": "shop"}
    )


def _cluster_scoped() -> fields.Boolean:
    said = "Whether releases may hold objects that are in no namespace, and make the namespace."
    return fields.Boolean(metadata={"description": said})


class ChangeTargetSchema(schema.StrictSchema):
    """What may be changed. Name, cluster and namespace stay once something was released."""

    name = fields.String(validate=schema.NAME, metadata={"example": "shop-production"})
    host_ids = _host_ids("Nodes of the environment.")
    cluster_id = _cluster_id()
    namespace = _namespace()
    cluster_scoped = _cluster_scoped()


class NewTargetSchema(schema.StrictSchema):
    """A target to be made: `host_ids` in a Compose environment, `cluster_id` and `namespace` in a Kubernetes one."""

    project_id = schema.project_word()
    name = fields.String(required=True, validate=schema.NAME, metadata={"example": "shop-production"})
    environment_id = fields.String(required=True, validate=validate.Length(1, schema.LONGEST_ID))
    host_ids = _host_ids("Nodes of the environment; all that it has now when left out.")
    cluster_id = _cluster_id()
    namespace = _namespace()
    cluster_scoped = _cluster_scoped()


class TargetArgs(schema.PageArgs):
    """Filters of the list."""

    project_id = schema.word_filter("Id or name of the project.")
    environment_id = schema.id_filter("The environment.")
    name = schema.word_filter("The name.")


@blueprint.route("", methods=["POST"])
@requires(Permission.TARGET_WRITE)
@idempotent
@blueprint.arguments(NewTargetSchema)
@blueprint.response(201, TargetSchema)
@blueprint.alt_response(502, schema=schema.ProblemSchema, content_type="application/problem+json")
def create_target(body: dict[str, Any]) -> dict[str, Any]:
    """Make a target."""
    return targets.create(current_core(), current_actor(), body)


@blueprint.route("")
@requires(Permission.TARGET_READ)
@blueprint.arguments(TargetArgs, location="query")
@blueprint.response(200, schema.page_of(TargetSchema))
def list_targets(query: dict[str, Any]) -> dict[str, Any]:
    """List targets."""
    filters, page = schema.page_request(query)
    return targets.list_(current_core(), current_actor(), filters, page)


@blueprint.route("/<string:target_id>")
@requires(Permission.TARGET_READ)
@blueprint.response(200, TargetSchema)
def get_target(target_id: str) -> dict[str, Any]:
    """Read a target."""
    return targets.get(current_core(), current_actor(), target_id)


@blueprint.route("/<string:target_id>", methods=["PATCH"])
@requires(Permission.TARGET_WRITE)
@blueprint.arguments(ChangeTargetSchema)
@blueprint.response(200, TargetSchema)
@blueprint.alt_response(502, schema=schema.ProblemSchema, content_type="application/problem+json")
def update_target(body: dict[str, Any], target_id: str) -> dict[str, Any]:
    """Change a target that no job works on."""
    return targets.update(current_core(), current_actor(), target_id, body)


@blueprint.route("/<string:target_id>", methods=["DELETE"])
@requires(Permission.TARGET_WRITE)
@blueprint.response(204)
def delete_target(target_id: str) -> None:
    """Delete a target that nothing was ever released to."""
    targets.delete(current_core(), current_actor(), target_id)


@blueprint.route("/<string:target_id>/status")
@requires(Permission.TARGET_READ)
@blueprint.response(200, TargetStatusSchema)
def get_target_status(target_id: str) -> dict[str, Any]:
    """Read what the last look found."""
    return target_status.latest(current_core(), current_actor(), target_id)


@blueprint.route("/<string:target_id>/drift", methods=["POST"])
@requires(Permission.TARGET_READ)
@idempotent
@blueprint.response(202, JobSchema)
def look_at_target(target_id: str) -> dict[str, Any]:
    """Ask the hosts what runs there now and what differs from what was released; the job is answered."""
    return target_status.request(current_core(), current_actor(), target_id)
