# SPDX-License-Identifier: Apache-2.0
"""Bindings: who holds which role where. Nobody gives what they do not hold there themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Select, false, or_, select
from sqlalchemy.orm import Session

from controlplane.domain.errors import Problem
from controlplane.domain.identifier import new_id
from controlplane.domain.permission import ROLES, Actor, Permission, Reach, reach
from controlplane.services import access, record, views
from controlplane.services.core import Core
from controlplane.store import pages
from controlplane.store.pages import PageRequest
from controlplane.store.tables import Binding, Project, Team, Token, User

FILTERS = ("subject_type", "subject_id", "role", "scope_type", "scope_id")


def create(core: Core, actor: Actor, given: Mapping[str, Any]) -> dict[str, Any]:
    """Give a user or a token a role in a scope.

    Raises:
        Problem: `validation_error`, `not_found` (subject or scope), `permission_denied`, `conflict` (it has it).
    """
    scope = (given["scope_type"], given.get("scope_id") or "")
    if (scope[0] == "global") != (scope[1] == ""):
        raise Problem(
            "validation_error", errors={"scope_id": ["names the project or team, and nothing for global"]}
        )
    with core.database.read() as session:
        project = _scope(session, actor, *scope)
    _require(core, actor, given["role"], project, scope)
    binding = Binding(
        id=new_id("bnd"),
        subject_type=given["subject_type"],
        subject_id=given["subject_id"],
        role=given["role"],
        scope_type=scope[0],
        scope_id=scope[1],
        created_at=core.clock.now(),
    )
    with core.database.write() as session:
        kind = User if binding.subject_type == "user" else Token
        if session.get(kind, binding.subject_id) is None:
            raise Problem("not_found", f"there is no {binding.subject_type} {binding.subject_id}")
        session.add(binding)
        record.flush(session, "that role is held there already")
        record.tell(
            core, session, actor, "access.role_bound", ("binding", binding.id), project, **_detail(binding)
        )
    return _show(binding)


def list_(core: Core, actor: Actor, filters: Mapping[str, Any], page: PageRequest) -> pages.Page:
    """List the bindings of the scopes that the actor administers, and the actor's own."""
    query = _visible(actor)
    for name in FILTERS:
        if filters.get(name):
            query = query.where(getattr(Binding, name) == filters[name])
    with core.database.read() as session:
        sortable = {"created_at": Binding.created_at, "role": Binding.role}
        return pages.fetch_page(session, query, page, sortable, Binding.id, _show, "-created_at")


def get(core: Core, actor: Actor, binding_id: str) -> dict[str, Any]:
    """Return a binding. Raises Problem `not_found`."""
    with core.database.read() as session:
        return _show(_load(session, actor, binding_id))


def delete(core: Core, actor: Actor, binding_id: str) -> None:
    """Take a role away.

    Raises:
        Problem: `not_found`, `permission_denied`, `conflict` (nobody would administer everything any more).
    """
    with core.database.read() as session:
        binding = _load(session, actor, binding_id)
        scope = (binding.scope_type, binding.scope_id)
        project = session.get(Project, binding.scope_id) if binding.scope_type == "project" else None
    _require(core, actor, binding.role, project, scope)
    with core.database.write() as session:
        binding = _load(session, actor, binding_id)
        session.delete(binding)
        session.flush()
        keep_an_administrator(session)
        record.tell(
            core, session, actor, "access.role_unbound", ("binding", binding_id), project, **_detail(binding)
        )


def administers_anything(actor: Actor) -> bool:
    """Say whether the actor is an administrator of some scope."""
    return reach(actor, Permission.ADMIN) != Reach()


def drop_scope(session: Session, scope_type: str, scope_id: str) -> list[str]:
    """Remove the bindings of a scope that is gone, and return who held what: `role of subject`."""
    return _drop(session, (Binding.scope_type == scope_type) & (Binding.scope_id == scope_id))


def drop_subjects(session: Session, subject_ids: Sequence[str]) -> list[str]:
    """Remove the bindings of subjects that are gone, and return what they held."""
    return _drop(session, Binding.subject_id.in_(subject_ids))


def keep_an_administrator(session: Session) -> None:
    """Refuse a change after which no enabled user would administer everything.

    Raises:
        Problem: `conflict`.
    """
    left = session.scalar(
        select(User.id)
        .join(Binding, Binding.subject_id == User.id)
        .where(Binding.role == "admin", Binding.scope_type == "global", User.is_disabled.is_(False))
        .limit(1)
    )
    if left is None:
        raise Problem("conflict", "nobody would administer this installation any more")


def _drop(session: Session, which: Any) -> list[str]:
    rows = list(session.scalars(select(Binding).where(which)))
    for row in rows:
        session.delete(row)
    session.flush()
    return [f"{row.role} of {row.subject_id}" for row in rows]


def _scope(session: Session, actor: Actor, scope_type: str, scope_id: str) -> Project | None:
    """Return the project of a scope; None for a team and for everything."""
    if scope_type == "project":
        project = session.get(Project, scope_id)
        if project is not None and actor.sees(project.id, project.team_id):
            return project
        raise Problem("not_found", f"there is no project {scope_id}")
    if scope_type == "team" and (session.get(Team, scope_id) is None or not actor.sees(None, scope_id)):
        raise Problem("not_found", f"there is no team {scope_id}")
    return None


def _require(core: Core, actor: Actor, role: str, project: Project | None, scope: tuple[str, str]) -> None:
    """Let pass who administers the scope and holds all that the role gives."""
    project_id = scope[1] if scope[0] == "project" else None
    team_id = scope[1] if scope[0] == "team" else project.team_id if project else None
    for permission in (Permission.ADMIN, *sorted(ROLES[role])):
        if not actor.may(permission, project_id, team_id):
            about = (scope[0], scope[1])
            with core.database.write() as session:
                access.record_denial(session, core, actor, permission, project, about)
            raise Problem(
                "permission_denied", f"this needs {permission}", extra={"permission": str(permission)}
            )


def _visible(actor: Actor) -> Select[Any]:
    covered = reach(actor, Permission.ADMIN)
    query = select(Binding)
    if covered.everything:
        return query
    inside = select(Project.id).where(
        or_(
            Project.team_id.in_(covered.teams) if covered.teams else false(), Project.id.in_(covered.projects)
        )
    )
    return query.where(
        or_(
            Binding.subject_id == actor.id,
            (Binding.scope_type == "project") & Binding.scope_id.in_(inside),
            (Binding.scope_type == "team") & Binding.scope_id.in_(covered.teams),
        )
    )


def _load(session: Session, actor: Actor, binding_id: str) -> Binding:
    binding: Binding | None = session.scalar(_visible(actor).where(Binding.id == binding_id))
    if binding is None:
        raise Problem("not_found", f"there is no binding {binding_id}")
    return binding


def _detail(binding: Binding) -> dict[str, Any]:
    return {name: getattr(binding, name) for name in FILTERS}


def _show(binding: Binding) -> dict[str, Any]:
    return {"id": binding.id, **_detail(binding), "created_at": views.moment(binding.created_at)}
