# SPDX-License-Identifier: Apache-2.0
"""`/api/v1/teams`: what projects belong to."""

from __future__ import annotations

from typing import Any

from marshmallow import fields

from controlplane.api import schema
from controlplane.api.auth import current_actor, current_core, requires
from controlplane.api.blueprint import Blueprint
from controlplane.api.idempotency import idempotent
from controlplane.domain.permission import Permission
from controlplane.services import teams

blueprint = Blueprint("teams", __name__, url_prefix="/teams", description="What projects belong to.")


class TeamSchema(schema.AnswerSchema):
    """A team."""

    id = schema.text(example="tem_01jd2k3m4n5p6q7r8s9tavbwcx")
    name = schema.text(example="payments")
    created_at = schema.time()


class ChangeTeamSchema(schema.StrictSchema):
    """What may be changed."""

    name = fields.String(validate=schema.NAME, metadata={"example": "payments"})


class NewTeamSchema(schema.StrictSchema):
    """A team to be made."""

    name = fields.String(required=True, validate=schema.NAME, metadata={"example": "payments"})


class TeamArgs(schema.PageArgs):
    """Filters of the list."""

    name = schema.word_filter("The name.")


@blueprint.route("", methods=["POST"])
@requires(Permission.ADMIN)
@idempotent
@blueprint.arguments(NewTeamSchema)
@blueprint.response(201, TeamSchema)
def create_team(body: dict[str, Any]) -> dict[str, Any]:
    """Make a team."""
    return teams.create(current_core(), current_actor(), body)


@blueprint.route("")
@requires(Permission.RELEASE_READ)
@blueprint.arguments(TeamArgs, location="query")
@blueprint.response(200, schema.page_of(TeamSchema))
def list_teams(query: dict[str, Any]) -> dict[str, Any]:
    """List teams."""
    filters, page = schema.page_request(query)
    return teams.list_(current_core(), current_actor(), filters, page)


@blueprint.route("/<string:team_id>")
@requires(Permission.RELEASE_READ)
@blueprint.response(200, TeamSchema)
def get_team(team_id: str) -> dict[str, Any]:
    """Read a team."""
    return teams.get(current_core(), current_actor(), team_id)


@blueprint.route("/<string:team_id>", methods=["PATCH"])
@requires(Permission.ADMIN)
@blueprint.arguments(ChangeTeamSchema)
@blueprint.response(200, TeamSchema)
def update_team(body: dict[str, Any], team_id: str) -> dict[str, Any]:
    """Change a team."""
    return teams.update(current_core(), current_actor(), team_id, body)


@blueprint.route("/<string:team_id>", methods=["DELETE"])
@requires(Permission.ADMIN)
@blueprint.response(204)
def delete_team(team_id: str) -> None:
    """Delete a team that has no project."""
    teams.delete(current_core(), current_actor(), team_id)
