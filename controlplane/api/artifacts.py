# SPDX-License-Identifier: Apache-2.0
"""`/api/v1/artifacts`: image archives, streamed in and out, kept once by content."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO, cast

from flask import Response, request
from marshmallow import fields

from controlplane.api import schema
from controlplane.api.auth import current_actor, current_core, requires
from controlplane.api.blueprint import Blueprint
from controlplane.api.services import DIGEST
from controlplane.domain.errors import Problem
from controlplane.domain.permission import Permission
from controlplane.services import artifacts

BINARY = "application/octet-stream"
TAKEN = (BINARY, "application/x-tar")
CHUNK = 1024 * 1024

blueprint = Blueprint(
    "artifacts", __name__, url_prefix="/artifacts", description="Image archives by content."
)


class ArtifactSchema(schema.AnswerSchema):
    """An archive."""

    id = schema.text(example="art_01jd2k3m4n5p6q7r8s9tavbwcx")
    project_id = schema.text()
    digest = schema.text(example="sha256:" + "0" * 64)
    size = fields.Integer(required=True, metadata={"description": "Bytes."})
    media = schema.text("docker oci")
    image_ids = fields.List(fields.String(), required=True)
    references = fields.List(fields.String(), required=True)
    created_by = schema.text()
    created_at = schema.time()
    pushed_at = schema.time()


class PushArgs(schema.StrictSchema):
    """Where an archive goes, and the digest that it must have."""

    project_id = schema.project_word()
    digest = fields.String(validate=DIGEST)


class ArtifactArgs(schema.PageArgs):
    """Filters of the list."""

    project_id = schema.word_filter("Id or name of the project.")
    digest = fields.String(validate=DIGEST)


class CollectedSchema(schema.AnswerSchema):
    """What was removed."""

    removed = fields.Integer(required=True)
    bytes_freed = fields.Integer(required=True)


@blueprint.route("", methods=["POST"])
@requires(Permission.TARGET_WRITE)
@blueprint.arguments(PushArgs, location="query")
@blueprint.doc(requestBody={"required": True, "content": {kind: {} for kind in TAKEN}})
@blueprint.alt_response(200, schema=ArtifactSchema, description="The project has it already.")
@blueprint.response(201, ArtifactSchema)
def push_artifact(query: dict[str, Any]) -> Any:
    """Stream a docker or OCI image archive in: it is hashed on the way and never held in memory."""
    core = current_core()
    if request.mimetype not in TAKEN:
        raise Problem(
            "unsupported_media_type", f"send {' or '.join(TAKEN)}", hint="Send the archive as it is."
        )
    request.max_content_length = core.settings.max_artifact_bytes
    stream = cast(BinaryIO, request.stream)
    shown, is_new = artifacts.push(core, current_actor(), query["project_id"], stream, query.get("digest"))
    return shown, 201 if is_new else 200


@blueprint.route("")
@requires(Permission.RELEASE_READ)
@blueprint.arguments(ArtifactArgs, location="query")
@blueprint.response(200, schema.page_of(ArtifactSchema))
def list_artifacts(query: dict[str, Any]) -> dict[str, Any]:
    """List archives."""
    filters, page = schema.page_request(query)
    return artifacts.list_(current_core(), current_actor(), filters, page)


@blueprint.route("/gc", methods=["POST"])
@requires(Permission.ADMIN)
@blueprint.response(200, CollectedSchema)
def collect_artifacts() -> dict[str, int]:
    """Remove archives that no version names and that were pushed longer ago than `artifact_grace_seconds`."""
    return artifacts.collect(current_core(), current_actor())


@blueprint.route("/<string:named>")
@requires(Permission.RELEASE_READ)
@blueprint.response(200, ArtifactSchema)
def get_artifact(named: str) -> dict[str, Any]:
    """Read an archive's description, by id or digest."""
    return artifacts.get(current_core(), current_actor(), named)


@blueprint.route("/<string:named>/content")
@requires(Permission.RELEASE_READ)
@blueprint.response(200, {"type": "string", "format": "binary"}, content_type=BINARY)
def get_content(named: str) -> Response:
    """Read an archive's bytes: for workers on other machines."""
    opened, size = artifacts.content(current_core(), current_actor(), named)
    return Response(_chunks(opened), mimetype=BINARY, headers={"Content-Length": str(size)})


@blueprint.route("/<string:named>", methods=["DELETE"])
@requires(Permission.TARGET_WRITE)
@blueprint.response(204)
def delete_artifact(named: str) -> None:
    """Take an archive out of its project."""
    artifacts.delete(current_core(), current_actor(), named)


def _chunks(opened: BinaryIO) -> Iterator[bytes]:
    with opened:
        while chunk := opened.read(CHUNK):
            yield chunk
