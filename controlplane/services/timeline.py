# SPDX-License-Identifier: Apache-2.0
"""What happened, in order: the timeline of a release, and the stream of everything that one may see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.orm import Session

from controlplane.domain.errors import Problem
from controlplane.domain.event import task_action
from controlplane.domain.permission import Actor, Permission, reach
from controlplane.services import access
from controlplane.services.core import Core
from controlplane.store import events
from controlplane.store.events import NewEvent
from controlplane.store.tables import Event, InstallTask, Release, StreamHead

MOST = 500
FILTERS = (
    "resource_type",
    "resource_id",
    "project_id",
    "environment_id",
    "action",
    "actor_id",
    "source",
    "status",
)


def release_event(release: Release, action: str, status: str = "success", /, **detail: Any) -> NewEvent:
    """Return an event about a release, with its project, team and environment filled in."""
    return NewEvent(
        f"release.{action}",
        "release",
        release.id,
        status=status,
        project_id=release.project_id,
        team_id=release.team_id,
        environment_id=release.environment_id,
        detail=detail,
    )


def task_event(task: InstallTask, action: str, status: str = "success", /, **detail: Any) -> NewEvent:
    """Return an event about a task; what it is called goes by what the task is about."""
    cluster = {"cluster_id": task.cluster_id} if task.cluster_id else {}
    return NewEvent(
        task_action(task.subject, task.kind, action),
        task.resource_type,
        task.id,
        status=status,
        project_id=task.project_id,
        team_id=task.team_id,
        environment_id=task.environment_id,
        detail={"kind": task.kind, **cluster, **detail},
    )


def of_release(core: Core, actor: Actor, release_id: str, after: int = 0, limit: int = 100) -> dict[str, Any]:
    """Return `{items, next}`: the events of a release after a seq, and the seq to go on from (None: no more now).

    Raises:
        Problem: `release_not_found`, `permission_denied`, `validation_error` (limit).
    """
    with core.database.read() as session:
        release, project = load_release(session, actor, release_id)
    access.require(core, actor, Permission.RELEASE_READ, project, about=("release", release_id))
    query = select(Event).where(Event.resource_type == "release", Event.resource_id == release.id)
    return _after(core, query, after, limit)


def of_task(core: Core, task: InstallTask, after: int = 0, limit: int = 100) -> dict[str, Any]:
    """Return `{items, next}`: the events of a task after a seq. Who may read it is for the caller to ask.

    Raises:
        Problem: `validation_error` (limit).
    """
    query = select(Event).where(Event.resource_type == task.resource_type, Event.resource_id == task.id)
    return _after(core, query, after, limit)


def of_all(
    core: Core, actor: Actor, filters: Mapping[str, str], after: int = 0, limit: int = 100
) -> dict[str, Any]:
    """Return `{items, next}`: the events that the actor may see, filtered, after a seq.

    Raises:
        Problem: `validation_error`, for an unknown filter or a bad limit.
    """
    query = select(Event)
    for name, value in filters.items():
        if name not in FILTERS:
            raise Problem("validation_error", errors={name: [f"must be one of {', '.join(FILTERS)}"]})
        query = query.where(getattr(Event, name) == value)
    return _after(core, readable(query, actor), after, limit)


def readable(query: Select[Any], actor: Actor) -> Select[Any]:
    """Narrow a query of events to those that the actor may read."""
    if reach(actor, Permission.AUDIT_READ).everything or reach(actor, Permission.RELEASE_READ).everything:
        return query
    covered = [reach(actor, Permission.RELEASE_READ), reach(actor, Permission.AUDIT_READ)]
    projects = frozenset[str]().union(*(each.projects for each in covered))
    teams = frozenset[str]().union(*(each.teams for each in covered))
    clauses: list[ColumnElement[bool]] = [Event.project_id.in_(projects), Event.team_id.in_(teams)]
    return query.where(or_(*clauses))


def may_read(actor: Actor, event: Mapping[str, Any]) -> bool:
    """Say of one event (as shown) what `readable` says of a query; for streams that were read once for all."""
    scope = (event["project_id"], event["team_id"])
    return actor.may(Permission.RELEASE_READ, *scope) or actor.may(Permission.AUDIT_READ, *scope)


def newest_seq(core: Core) -> int:
    """Return the seq of the newest event, 0 when there is none."""
    with core.database.read() as session:
        return session.scalar(select(StreamHead.seq).where(StreamHead.id == 1)) or 0


def since(core: Core, after: int, limit: int = MOST) -> Sequence[dict[str, Any]]:
    """Return events after a seq for the server's own poller, unfiltered: callers filter with `may_read`."""
    with core.database.read() as session:
        rows = session.scalars(select(Event).where(Event.seq > after).order_by(Event.seq).limit(limit))
        return [events.as_dict(row) for row in rows]


def load_release(session: Session, actor: Actor, release_id: str) -> tuple[Release, Any]:
    """Return a release and its project.

    Raises:
        Problem: `release_not_found`, also where the actor sees nothing of its project.
    """
    try:
        return access.load(session, Release, release_id, actor)
    except Problem:
        raise Problem("release_not_found", f"there is no release {release_id}") from None


def _after(core: Core, query: Select[Any], after: int, limit: int) -> dict[str, Any]:
    if not 1 <= limit <= MOST or not 0 <= after < 2**63:
        raise Problem("validation_error", errors={"limit": [f"must be from 1 to {MOST}, and after a seq"]})
    with core.database.read() as session:
        rows = list(session.scalars(query.where(Event.seq > after).order_by(Event.seq).limit(limit + 1)))
    items = [events.as_dict(row) for row in rows[:limit]]
    return {"items": items, "next": items[-1]["seq"] if len(rows) > limit else None}


def count(core: Core) -> int:
    """Return how many events there are: the newest seq, because there is no gap."""
    with core.database.read() as session:
        return session.scalar(select(func.max(Event.seq))) or 0
