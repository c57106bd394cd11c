# SPDX-License-Identifier: Apache-2.0
"""Projects: the scope of almost everything, with the rules that they add to the approval matrix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from controlplane.domain import policy
from controlplane.domain.errors import Problem
from controlplane.domain.identifier import new_id
from controlplane.domain.permission import Actor, Permission
from controlplane.services import access, bindings, record, views
from controlplane.services.core import Core
from controlplane.store import pages
from controlplane.store.pages import PageRequest
from controlplane.store.tables import Project, Team

FIELDS = ("name", "description", "team_id", "policy")


def create(core: Core, actor: Actor, given: Mapping[str, Any]) -> dict[str, Any]:
    """Make a project: an administrator of everything may, and one of the team that it is to belong to.

    Raises:
        Problem: `validation_error`, `not_found` (the team), `permission_denied`, `conflict` (the name is taken).
    """
    team_id = given.get("team_id")
    _check_policy(given)
    _require_team(core, actor, team_id)
    project = Project(
        id=new_id("prj"),
        name=given["name"],
        description=given.get("description", ""),
        team_id=team_id,
        policy=given.get("policy", []),
        created_at=core.clock.now(),
    )
    with core.database.write() as session:
        _check_team(session, team_id)
        session.add(project)
        record.flush(session, f"there is a project named {project.name} already")
        record.tell(
            core, session, actor, "resource.created", ("project", project.id), project, name=project.name
        )
    return _show(project)


def list_(core: Core, actor: Actor, filters: Mapping[str, Any], page: PageRequest) -> pages.Page:
    """List the projects that the actor may read. Filters: `name`, `team_id`."""
    query = access.visible(select(Project), actor, Permission.RELEASE_READ, Project.id)
    for name in ("name", "team_id"):
        if filters.get(name):
            query = query.where(getattr(Project, name) == filters[name])
    with core.database.read() as session:
        sortable = {"name": Project.name, "created_at": Project.created_at}
        return pages.fetch_page(session, query, page, sortable, Project.id, _show, "name")


def get(core: Core, actor: Actor, project_id: str) -> dict[str, Any]:
    """Return a project. Raises Problem `not_found`, `permission_denied`."""
    with core.database.read() as session:
        project = access.load_project(session, actor, project_id)
    access.require(core, actor, Permission.RELEASE_READ, project, about=("project", project.id))
    return _show(project)


def update(core: Core, actor: Actor, project_id: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Change what is given. Another team takes an administrator of both: it changes who reaches the project.

    Raises:
        Problem: `validation_error`, `not_found`, `permission_denied`, `conflict`.
    """
    project = _administered(core, actor, project_id)
    _check_policy(given)
    if "team_id" in given and given["team_id"] != project.team_id:
        _require_team(core, actor, project.team_id)
        _require_team(core, actor, given["team_id"])
    with core.database.write() as session:
        project = access.load_project(session, actor, project.id)
        _check_team(session, given.get("team_id"))
        for name in FIELDS:
            if name in given:
                setattr(project, name, given[name])
        record.flush(session, f"there is a project named {given.get('name')} already")
        detail = {"name": project.name, "fields": sorted(given)}
        record.tell(core, session, actor, "resource.updated", ("project", project.id), project, **detail)
    return _show(project)


def delete(core: Core, actor: Actor, project_id: str) -> None:
    """Delete a project with nothing in it. Raises Problem `not_found`, `permission_denied`, `resource_in_use`."""
    project_id = _administered(core, actor, project_id).id
    with core.database.write() as session:
        project = access.load_project(session, actor, project_id)
        name = project.name
        record.remove(
            session, project, f"project {name} still has hosts, environments, services or artifacts"
        )
        told = bindings.drop_scope(session, "project", project_id)
        detail = {"name": name, "unbound": told}
        record.tell(core, session, actor, "resource.deleted", ("project", project_id), project, **detail)


def _administered(core: Core, actor: Actor, project_id: str) -> Project:
    with core.database.read() as session:
        project = access.load_project(session, actor, project_id)
    access.require(core, actor, Permission.ADMIN, project, about=("project", project.id))
    return project


def _require_team(core: Core, actor: Actor, team_id: str | None) -> None:
    """Let pass an administrator of a team, for None one of everything."""
    if team_id is None or not actor.may(Permission.ADMIN, None, team_id):
        access.require(core, actor, Permission.ADMIN, None, about=("team", team_id or ""))


def _check_team(session: Session, team_id: str | None) -> None:
    if team_id is not None and session.get(Team, team_id) is None:
        raise Problem("not_found", f"there is no team {team_id}")


def _check_policy(given: Mapping[str, Any]) -> None:
    for row in given.get("policy", []):
        if not isinstance(row.get("actions", []), list):
            raise Problem("validation_error", errors={"policy": ["actions must be a list"]})
        policy.read_rule(row)


def _show(project: Project) -> dict[str, Any]:
    return {
        "id": project.id,
        "name": project.name,
        "description": project.description,
        "team_id": project.team_id,
        "policy": project.policy,
        "created_at": views.moment(project.created_at),
    }
