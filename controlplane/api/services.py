# SPDX-License-Identifier: Apache-2.0
"""`/api/v1/services`: what is released, its versions, and the values of its variables."""

from __future__ import annotations

from typing import Any

from marshmallow import fields, validate

from controlplane.api import schema
from controlplane.api.auth import current_actor, current_core, requires
from controlplane.api.blueprint import Blueprint
from controlplane.api.idempotency import idempotent
from controlplane.domain.permission import Permission
from controlplane.services import catalog, manifests, variables

RUNTIMES = ("compose", "k8s")
VERSION = validate.Regexp(
    r"\A[A-Za-z0-9][A-Za-z0-9._+-]{0,63}\Z", error="must be 1 to 64 of A-Z a-z 0-9 . _ + -"
)
DIGEST = validate.Regexp(r"\Asha256:[0-9a-f]{64}\Z", error="must be sha256: and 64 hex digits")
MOST_IMAGES = 100

blueprint = Blueprint(
    "services", __name__, url_prefix="/services", description="What is released, by version."
)


class ServiceSchema(schema.AnswerSchema):
    """A service."""

    id = schema.text(example="svc_01jd2k3m4n5p6q7r8s9tavbwcx")
    project_id = schema.text()
    name = schema.text(example="shop")
    runtime_type = schema.text("compose k8s", example="compose")
    created_at = schema.time()


class ChangeServiceSchema(schema.StrictSchema):
    """A new name, while it was never released."""

    name = fields.String(validate=schema.NAME, metadata={"example": "shop"})


class NewServiceSchema(schema.StrictSchema):
    """A service to be made."""

    project_id = schema.project_word()
    name = fields.String(required=True, validate=schema.NAME, metadata={"example": "shop"})
    runtime_type = fields.String(load_default="compose", validate=validate.OneOf(RUNTIMES))


class ServiceArgs(schema.PageArgs):
    """Filters of the list."""

    project_id = schema.word_filter("Id or name of the project.")
    name = schema.word_filter("The name.")
    runtime_type = fields.String(validate=validate.OneOf(RUNTIMES))


class ImageSchema(schema.StrictSchema):
    """An image that comes from an archive."""

    reference = fields.String(required=True, validate=validate.Length(1, 255), metadata={"example": "shop:2"})
    artifact = fields.String(required=True, validate=DIGEST, metadata={"example": "sha256:" + "0" * 64})
    image_id = fields.String(dump_only=True, allow_none=True)


class NewVersionSchema(schema.StrictSchema):
    """A version to be made. It never changes."""

    version = fields.String(required=True, validate=VERSION, metadata={"example": "2"})
    template = fields.String(
        load_default="",
        validate=validate.Length(0, manifests.MOST_BYTES),
        metadata={
            "description": "A compose file, or Kubernetes manifests: many documents.",
            "example": 'services:\n  web:\n    image: "shop:{{ version }}"\n',
        },
    )
    kustomization = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        load_default=None,
        allow_none=True,
        metadata={"description": "For Kubernetes, in place of the template: files of a directory, by name."},
    )
    prune_kinds = fields.List(
        fields.String(validate=validate.OneOf(catalog.PRUNE_KINDS)),
        load_default=list,
        metadata={"description": "Kinds that are otherwise never pruned from a cluster."},
    )
    variable_schema = fields.Dict(
        keys=fields.String(),
        load_default=dict,
        metadata={"example": {"version": {"type": "string", "required": True}}},
    )
    images = fields.List(
        fields.Nested(ImageSchema), load_default=list, validate=validate.Length(0, MOST_IMAGES)
    )
    strategy = fields.String(load_default="rolling", validate=validate.OneOf(catalog.STRATEGIES))
    strategy_params = fields.Dict(
        keys=fields.String(), load_default=dict, metadata={"example": {"max_parallel": 1}}
    )
    health_timeout = fields.Integer(
        load_default=120, strict=True, validate=validate.Range(1, 3600), metadata={"description": "Seconds."}
    )


class VersionSchema(NewVersionSchema):
    """A version."""

    id = schema.text(example="ver_01jd2k3m4n5p6q7r8s9tavbwcx")
    service_id = schema.text()
    number = fields.Integer(required=True)
    digest = schema.text("SHA-256 over all of it.")
    created_by = schema.text()
    created_at = schema.time()


class ValueSchema(schema.AnswerSchema):
    """The value of a variable somewhere. Of a secret one, `value` is null."""

    id = schema.text(example="var_01jd2k3m4n5p6q7r8s9tavbwcx")
    scope_type = schema.text("environment target", example="target")
    scope_id = schema.text()
    name = schema.text(example="greeting")
    value = fields.Raw(required=True, allow_none=True)
    is_secret = fields.Boolean(required=True)
    updated_at = schema.time()


class ScopeArgs(schema.StrictSchema):
    """Which value is meant."""

    scope_type = fields.String(required=True, validate=validate.OneOf(list(variables.SCOPES)))
    scope_id = fields.String(required=True, validate=validate.Length(1, schema.LONGEST_ID))
    name = fields.String(required=True, validate=validate.Length(1, 63), metadata={"example": "greeting"})


class SetValueSchema(ScopeArgs):
    """A value to be set."""

    value = fields.Raw(required=True, metadata={"example": "hello"})


@blueprint.route("", methods=["POST"])
@requires(Permission.TARGET_WRITE)
@idempotent
@blueprint.arguments(NewServiceSchema)
@blueprint.response(201, ServiceSchema)
def create_service(body: dict[str, Any]) -> dict[str, Any]:
    """Make a service."""
    return catalog.create(current_core(), current_actor(), body)


@blueprint.route("")
@requires(Permission.RELEASE_READ)
@blueprint.arguments(ServiceArgs, location="query")
@blueprint.response(200, schema.page_of(ServiceSchema))
def list_services(query: dict[str, Any]) -> dict[str, Any]:
    """List services."""
    filters, page = schema.page_request(query)
    return catalog.list_(current_core(), current_actor(), filters, page)


@blueprint.route("/<string:service_id>")
@requires(Permission.RELEASE_READ)
@blueprint.response(200, ServiceSchema)
def get_service(service_id: str) -> dict[str, Any]:
    """Read a service."""
    return catalog.get(current_core(), current_actor(), service_id)


@blueprint.route("/<string:service_id>", methods=["PATCH"])
@requires(Permission.TARGET_WRITE)
@blueprint.arguments(ChangeServiceSchema)
@blueprint.response(200, ServiceSchema)
def update_service(body: dict[str, Any], service_id: str) -> dict[str, Any]:
    """Rename a service that was never released."""
    return catalog.update(current_core(), current_actor(), service_id, body)


@blueprint.route("/<string:service_id>", methods=["DELETE"])
@requires(Permission.TARGET_WRITE)
@blueprint.response(204)
def delete_service(service_id: str) -> None:
    """Delete a service that was never released."""
    catalog.delete(current_core(), current_actor(), service_id)


@blueprint.route("/<string:service_id>/versions", methods=["POST"])
@requires(Permission.TARGET_WRITE)
@idempotent
@blueprint.arguments(NewVersionSchema)
@blueprint.response(201, VersionSchema)
def create_version(body: dict[str, Any], service_id: str) -> dict[str, Any]:
    """Make a version. Errors: compose_invalid, manifest_invalid, validation_error, artifact_missing, conflict."""
    return catalog.create_version(current_core(), current_actor(), service_id, body)


@blueprint.route("/<string:service_id>/versions")
@requires(Permission.RELEASE_READ)
@blueprint.arguments(schema.PageArgs, location="query")
@blueprint.response(200, schema.page_of(VersionSchema))
def list_versions(query: dict[str, Any], service_id: str) -> dict[str, Any]:
    """List a service's versions, newest first."""
    _filters, page = schema.page_request(query)
    return catalog.list_versions(current_core(), current_actor(), service_id, page)


@blueprint.route("/<string:service_id>/versions/<string:version>")
@requires(Permission.RELEASE_READ)
@blueprint.response(200, VersionSchema)
def get_version(service_id: str, version: str) -> dict[str, Any]:
    """Read a version."""
    return catalog.get_version(current_core(), current_actor(), service_id, version)


@blueprint.route("/<string:service_id>/versions/<string:version>", methods=["DELETE"])
@requires(Permission.TARGET_WRITE)
@blueprint.response(204)
def delete_version(service_id: str, version: str) -> None:
    """Delete a version that was never released nor previewed. Errors: resource_in_use."""
    catalog.delete_version(current_core(), current_actor(), service_id, version)


@blueprint.route("/<string:service_id>/variables")
@requires(Permission.RELEASE_READ)
@blueprint.arguments(schema.PageArgs, location="query")
@blueprint.response(200, schema.page_of(ValueSchema))
def list_values(query: dict[str, Any], service_id: str) -> dict[str, Any]:
    """List the values of a service's variables."""
    _filters, page = schema.page_request(query)
    return variables.list_(current_core(), current_actor(), service_id, page)


@blueprint.route("/<string:service_id>/variables", methods=["PUT"])
@requires(Permission.TARGET_WRITE)
@blueprint.arguments(SetValueSchema)
@blueprint.response(200, ValueSchema)
def set_value(body: dict[str, Any], service_id: str) -> dict[str, Any]:
    """Set a variable for an environment or a target."""
    return variables.set_(current_core(), current_actor(), service_id, body)


@blueprint.route("/<string:service_id>/variables", methods=["DELETE"])
@requires(Permission.TARGET_WRITE)
@blueprint.arguments(ScopeArgs, location="query")
@blueprint.response(204)
def delete_value(query: dict[str, Any], service_id: str) -> None:
    """Remove a value."""
    variables.delete(current_core(), current_actor(), service_id, query)
