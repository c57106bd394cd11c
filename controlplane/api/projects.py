# SPDX-License-Identifier: Apache-2.0
"""`/api/v1/projects`: the scope of almost everything."""

from __future__ import annotations

from typing import Any

from marshmallow import fields, validate

from controlplane.api import schema
from controlplane.api.auth import current_actor, current_core, requires
from controlplane.api.blueprint import Blueprint
from controlplane.api.idempotency import idempotent
from controlplane.domain.permission import Permission
from controlplane.services import projects

blueprint = Blueprint(
    "projects", __name__, url_prefix="/projects", description="The scope of almost everything."
)


class ProjectSchema(schema.AnswerSchema):
    """A project."""

    id = schema.text(example="prj_01jd2k3m4n5p6q7r8s9tavbwcx")
    name = schema.text(example="shop")
    description = schema.text()
    team_id = schema.text("The team that it belongs to.", nullable=True)
    policy = fields.List(
        fields.Dict(), required=True, metadata={"description": "Its own rows of the approval matrix."}
    )
    created_at = schema.time()


class ChangeProjectSchema(schema.StrictSchema):
    """What may be changed. Rows of `policy` raise what the installation's matrix asks; they never lower it."""

    name = fields.String(validate=schema.NAME, metadata={"example": "shop"})
    description = fields.String(validate=validate.Length(0, 10_000))
    team_id = fields.String(allow_none=True, validate=validate.Length(1, schema.LONGEST_ID))
    policy = fields.List(
        fields.Dict(keys=fields.String()),
        validate=validate.Length(0, 100),
        metadata={"example": [{"stage": "staging", "actions": ["apply"], "needs_approval": True}]},
    )


class NewProjectSchema(ChangeProjectSchema):
    """A project to be made."""

    name = fields.String(required=True, validate=schema.NAME, metadata={"example": "shop"})


class ProjectArgs(schema.PageArgs):
    """Filters of the list."""

    name = schema.word_filter("The name.")
    team_id = schema.id_filter("The team.")


@blueprint.route("", methods=["POST"])
@requires(Permission.ADMIN)
@idempotent
@blueprint.arguments(NewProjectSchema)
@blueprint.response(201, ProjectSchema)
def create_project(body: dict[str, Any]) -> dict[str, Any]:
    """Make a project."""
    return projects.create(current_core(), current_actor(), body)


@blueprint.route("")
@requires(Permission.RELEASE_READ)
@blueprint.arguments(ProjectArgs, location="query")
@blueprint.response(200, schema.page_of(ProjectSchema))
def list_projects(query: dict[str, Any]) -> dict[str, Any]:
    """List projects."""
    filters, page = schema.page_request(query)
    return projects.list_(current_core(), current_actor(), filters, page)


@blueprint.route("/<string:project_id>")
@requires(Permission.RELEASE_READ)
@blueprint.response(200, ProjectSchema)
def get_project(project_id: str) -> dict[str, Any]:
    """Read a project."""
    return projects.get(current_core(), current_actor(), project_id)


@blueprint.route("/<string:project_id>", methods=["PATCH"])
@requires(Permission.ADMIN)
@blueprint.arguments(ChangeProjectSchema)
@blueprint.response(200, ProjectSchema)
def update_project(body: dict[str, Any], project_id: str) -> dict[str, Any]:
    """Change a project."""
    return projects.update(current_core(), current_actor(), project_id, body)


@blueprint.route("/<string:project_id>", methods=["DELETE"])
@requires(Permission.ADMIN)
@blueprint.response(204)
def delete_project(project_id: str) -> None:
    """Delete a project with nothing in it."""
    projects.delete(current_core(), current_actor(), project_id)
