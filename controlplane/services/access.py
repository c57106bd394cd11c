# SPDX-License-Identifier: Apache-2.0
"""The one place where it is asked whether somebody may: who they are, what they may do, what they may see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, false, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from controlplane.adapters import passwords
from controlplane.domain import token as tokens
from controlplane.domain.errors import Problem
from controlplane.domain.permission import Actor, Grant, Permission, reach
from controlplane.services.core import Core
from controlplane.store import events
from controlplane.store.tables import Binding, Project, Token, User

LAST_USED_EVERY = 60.0

Row = TypeVar("Row")


def authenticate_token(
    core: Core, text: str, request_id: str | None = None, *, is_recorded: bool = True
) -> Actor:
    """Return who a token belongs to, with the grants of its user and its own, under its scopes.

    `is_recorded` False is for failures of somebody who has failed too often already: they are not written down.

    Raises:
        Problem: `authentication_required` (unknown, revoked, user disabled; recorded as `access.login_failed`),
            `token_expired`.
    """
    now = core.clock.now()
    parsed = tokens.parse(text)
    with core.database.read() as session:
        token = None
        if parsed is not None:
            token = session.scalar(select(Token).where(Token.prefix == parsed[0]))
        if token is None or parsed is None or not tokens.matches(text, token.secret_hash):
            token = None
        user = session.get(User, token.user_id) if token else None
        if token is None or user is None or token.revoked_at or user.is_disabled:
            known = token.id if token else "unknown"
        elif token.expires_at and token.expires_at <= now:
            raise Problem("token_expired")
        else:
            actor = Actor(
                id=user.id,
                name=user.name,
                source=token.source,
                grants=_grants(session, user.id, token.id),
                ceiling=frozenset(token.scopes) if token.scopes else None,
                request_id=request_id,
                token_id=token.id,
            )
            is_fresh = token.last_used_at and (now - token.last_used_at).total_seconds() < LAST_USED_EVERY
            token_id = token.id
            known = None
    if known is not None:
        if is_recorded:
            _login_failed(core, known, "token", request_id)
        raise Problem("authentication_required", "the token is not known, or was revoked")
    if not is_fresh:
        with core.database.write() as session:
            used = session.get(Token, token_id)
            if used:
                used.last_used_at = now
    return actor


def authenticate_password(core: Core, name: str, password: str, request_id: str | None = None) -> Actor:
    """Return who a name and password belong to.

    Raises:
        Problem: `authentication_required`; recorded as `access.login_failed`.
    """
    with core.database.read() as session:
        user = session.scalar(select(User).where(User.name == name))
        stored = user.password_hash if user and not user.is_disabled else None
        # The same work is done for a name that does not exist, so that time tells nothing.
        is_right = passwords.verify_password(password, stored)
        if user is not None and is_right:
            return Actor(
                id=user.id, name=user.name, grants=_grants(session, user.id, None), request_id=request_id
            )
    _login_failed(core, user.id if user else "unknown", "password", request_id)
    raise Problem("authentication_required", "name or password is wrong")


def actor_of(session: Session, user_id: str) -> Actor | None:
    """Return a user as an actor, as of now; None for one that is gone or disabled."""
    user = session.get(User, user_id)
    if user is None or user.is_disabled:
        return None
    return Actor(id=user.id, name=user.name, grants=_grants(session, user.id, None))


def actor_behind(session: Session, user_id: str, token_id: str | None, now: datetime) -> Actor | None:
    """Return who asked some time ago as an actor, as of now: with the grants and the scopes of the token, if one
    was used. None where the user is gone or disabled, or the token revoked or expired.
    """
    actor = actor_of(session, user_id)
    if actor is None or token_id is None:
        return actor
    token = session.get(Token, token_id)
    if token is None or token.revoked_at or (token.expires_at and token.expires_at <= now):
        return None
    return replace(
        actor,
        source=token.source,
        grants=_grants(session, user_id, token_id),
        ceiling=frozenset(token.scopes) if token.scopes else None,
        token_id=token_id,
    )


def looking_again(core: Core, actor: Actor) -> Callable[[], Actor]:
    """Return what says at each call who an actor is as of now, by the same token or the same password.

    Raises (the returned call):
        Problem: `authentication_required` where the user is gone or disabled, the token revoked or expired, or the
            password another one.
    """
    with core.database.read() as session:
        known = session.scalar(select(User.password_hash).where(User.id == actor.id))

    def look() -> Actor:
        with core.database.read() as session:
            found = actor_behind(session, actor.id, actor.token_id, core.clock.now())
            password = session.scalar(select(User.password_hash).where(User.id == actor.id))
        if found is None or (actor.token_id is None and password != known):
            raise Problem("authentication_required", "the token or password is no longer good")
        return replace(found, request_id=actor.request_id)

    return look


def require(
    core: Core, actor: Actor, permission: Permission, project: Project | None, *, about: tuple[str, str]
) -> None:
    """Let pass who may; for anybody else, write `access.denied` and raise.

    Args:
        project: the project that the resource belongs to; None for what belongs to none.
        about: type and id of the resource, for the event.

    Raises:
        Problem: `not_found` where the actor sees nothing of the project, else `permission_denied`.
    """
    project_id, team_id = (project.id, project.team_id) if project else (None, None)
    if actor.may(permission, project_id, team_id):
        return
    with core.database.write() as session:
        record_denial(session, core, actor, permission, project, about)
    if project is not None and not actor.sees(project_id, team_id):
        raise Problem("not_found")
    raise Problem("permission_denied", f"this needs {permission}", extra={"permission": str(permission)})


def record_denial(
    session: Session,
    core: Core,
    actor: Actor,
    permission: str,
    project: Project | None,
    about: tuple[str, str],
) -> None:
    """Write `access.denied`: a refused decision changes nothing and is itself an event."""
    denied = events.NewEvent(
        "access.denied",
        about[0],
        about[1],
        status="failed",
        project_id=project.id if project else None,
        team_id=project.team_id if project else None,
        detail={"permission": str(permission)},
    )
    events.append(session, actor, core.clock.now(), [denied])


def load(session: Session, table: type[Row], key: str, actor: Actor) -> tuple[Row, Project]:
    """Return a row that belongs to a project, with its project.

    Raises:
        Problem: `not_found`, also where the row is outside everything the actor sees.
    """
    row = session.get(table, key)
    project = session.get(Project, row.project_id) if row is not None else None  # type: ignore[attr-defined]
    if row is None or project is None or not actor.sees(project.id, project.team_id):
        raise Problem("not_found", f"there is no {table.__tablename__.rstrip('s')} {key}")  # type: ignore[attr-defined]
    return row, project


def load_project(session: Session, actor: Actor, key: str) -> Project:
    """Return a project by id or name.

    Raises:
        Problem: `not_found`, also where the actor sees nothing of it.
    """
    project = session.get(Project, key) or session.scalar(select(Project).where(Project.name == key))
    if project is None or not actor.sees(project.id, project.team_id):
        raise Problem("not_found", f"there is no project {key}")
    return project


def visible(
    query: Select[Any], actor: Actor, permission: Permission, project_id: InstrumentedAttribute[Any]
) -> Select[Any]:
    """Narrow a list to the projects in which the actor holds a permission."""
    covered = reach(actor, permission)
    if covered.everything:
        return query
    clauses: list[ColumnElement[bool]] = []
    if covered.projects:
        clauses.append(project_id.in_(covered.projects))
    if covered.teams:
        clauses.append(project_id.in_(select(Project.id).where(Project.team_id.in_(covered.teams))))
    return query.where(or_(*clauses) if clauses else false())


def through(actor: Actor, source: str) -> Actor:
    """Return the actor as seen through another door (`inbox`, `awx`)."""
    return replace(actor, source=source)


def _grants(session: Session, user_id: str, token_id: str | None) -> tuple[Grant, ...]:
    subjects = [user_id, token_id] if token_id else [user_id]
    bindings = session.scalars(select(Binding).where(Binding.subject_id.in_(subjects)))
    return tuple(Grant(binding.role, binding.scope_type, binding.scope_id) for binding in bindings)


def _login_failed(core: Core, subject: str, means: str, request_id: str | None) -> None:
    stranger = Actor(id="anonymous", name="anonymous", type="user", request_id=request_id)
    failed = events.NewEvent("access.login_failed", "user", subject, status="failed", detail={"means": means})
    with core.database.write() as session:
        events.append(session, stranger, core.clock.now(), [failed])
