# SPDX-License-Identifier: Apache-2.0
"""Teams: what projects belong to, so that one binding reaches all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Select, or_, select
from sqlalchemy.orm import Session

from controlplane.domain.errors import Problem
from controlplane.domain.identifier import new_id
from controlplane.domain.permission import Actor, Permission, reach
from controlplane.services import access, bindings, record, views
from controlplane.services.core import Core
from controlplane.store import pages
from controlplane.store.pages import PageRequest
from controlplane.store.tables import Project, Team


def create(core: Core, actor: Actor, given: Mapping[str, Any]) -> dict[str, Any]:
    """Make a team. Raises Problem `permission_denied`, `conflict`."""
    access.require(core, actor, Permission.ADMIN, None, about=("team", ""))
    team = Team(id=new_id("tem"), name=given["name"], created_at=core.clock.now())
    with core.database.write() as session:
        session.add(team)
        record.flush(session, f"there is a team named {team.name} already")
        record.tell(core, session, actor, "resource.created", ("team", team.id), None, name=team.name)
    return _show(team)


def list_(core: Core, actor: Actor, filters: Mapping[str, Any], page: PageRequest) -> pages.Page:
    """List the teams that a grant of the actor reaches, itself or one of its projects. Filter: `name`."""
    query = _visible(actor)
    if filters.get("name"):
        query = query.where(Team.name == filters["name"])
    with core.database.read() as session:
        sortable = {"name": Team.name, "created_at": Team.created_at}
        return pages.fetch_page(session, query, page, sortable, Team.id, _show, "name")


def get(core: Core, actor: Actor, team_id: str) -> dict[str, Any]:
    """Return a team. Raises Problem `not_found`."""
    with core.database.read() as session:
        return _show(load(session, actor, team_id))


def update(core: Core, actor: Actor, team_id: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Give a team another name. Raises Problem `not_found`, `permission_denied`, `conflict`."""
    _require(core, actor, team_id)
    with core.database.write() as session:
        team = load(session, actor, team_id)
        was, team.name = team.name, given.get("name", team.name)
        record.flush(session, f"there is a team named {given.get('name')} already")
        record.tell(
            core, session, actor, "resource.updated", ("team", team.id), None, name=team.name, was=was
        )
    return _show(team)


def delete(core: Core, actor: Actor, team_id: str) -> None:
    """Delete a team that has no project. Raises Problem `not_found`, `permission_denied`, `resource_in_use`."""
    _require(core, actor, team_id)
    with core.database.write() as session:
        team = load(session, actor, team_id)
        name = team.name
        record.remove(session, team, f"team {name} has projects")
        told = bindings.drop_scope(session, "team", team_id)
        record.tell(
            core, session, actor, "resource.deleted", ("team", team_id), None, name=name, unbound=told
        )


def load(session: Session, actor: Actor, team_id: str) -> Team:
    """Return a team that the actor may see. Raises Problem `not_found`."""
    team: Team | None = session.scalar(_visible(actor).where(Team.id == team_id))
    if team is None:
        raise Problem("not_found", f"there is no team {team_id}")
    return team


def _require(core: Core, actor: Actor, team_id: str) -> None:
    with core.database.read() as session:
        load(session, actor, team_id)
    access.require(core, actor, Permission.ADMIN, None, about=("team", team_id))


def _visible(actor: Actor) -> Select[Any]:
    covered = reach(actor, Permission.RELEASE_READ)
    query = select(Team)
    if covered.everything:
        return query
    through = select(Project.team_id).where(Project.id.in_(covered.projects))
    return query.where(or_(Team.id.in_(covered.teams), Team.id.in_(through)))


def _show(team: Team) -> dict[str, Any]:
    return {"id": team.id, "name": team.name, "created_at": views.moment(team.created_at)}
