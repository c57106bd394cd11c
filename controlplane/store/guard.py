# SPDX-License-Identifier: Apache-2.0
"""The one place where the state of a release, an install or a ticket changes: one guarded update each."""

from __future__ import annotations

from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session

from controlplane.domain import install
from controlplane.domain.approval import TicketStatus
from controlplane.domain.errors import Problem
from controlplane.domain.install import TaskState
from controlplane.domain.release import State, check_status, check_transition, read_state
from controlplane.store.tables import InstallTask, Release, Ticket


def move_release(
    session: Session, release: Release, goal: State, status: str | None = None, **also: Any
) -> None:
    """Move a release to another state, if it still is where this session read it.

    Args:
        status: the finer word; the state's own name when left out.
        also: other columns set by the same update.

    Raises:
        Problem: `release_state_invalid`, when the transition is illegal or another transaction was first.
    """
    origin = read_state(release.state)
    check_transition(origin, goal)
    _update(session, release, origin, {"state": str(goal), "status": status or str(goal), **also})


def set_status(session: Session, release: Release, status: str, **also: Any) -> None:
    """Change the finer word (and other columns) inside the state that the release is in.

    Raises:
        Problem: `release_state_invalid`, when another transaction moved it.
    """
    _update(session, release, read_state(release.state), {"status": status, **also})


def _update(session: Session, release: Release, origin: State, values: dict[str, Any]) -> None:
    check_status(State(values.get("state", origin)), values["status"])
    session.flush()
    changed = session.execute(
        update(Release)
        .where(Release.id == release.id, Release.state == release.state, Release.version == release.version)
        .values(**values, version=release.version + 1)
        .execution_options(synchronize_session=False)
    )
    if changed.rowcount != 1:  # type: ignore[attr-defined]
        raise Problem(
            "release_state_invalid",
            f"the release is no longer {origin}: somebody else was first",
            extra={"states": {"from": str(origin), "to": values.get("state", str(origin))}},
        )
    session.refresh(release)


def move_task(
    session: Session, task: InstallTask, goal: TaskState, status: str | None = None, **also: Any
) -> None:
    """Move an install's task to another state, if it still is where this session read it.

    Raises:
        Problem: `conflict`, when the transition is illegal or another transaction was first.
    """
    install.check_transition(TaskState(task.state), goal)
    _update_task(session, task, {"state": str(goal), "status": status or str(goal), **also})


def set_task_status(session: Session, task: InstallTask, status: str, **also: Any) -> None:
    """Change the finer word (and other columns) inside the state that the task is in.

    Raises:
        Problem: `conflict`, when another transaction moved it.
    """
    _update_task(session, task, {"status": status, **also})


def _update_task(session: Session, task: InstallTask, values: dict[str, Any]) -> None:
    install.check_status(TaskState(values.get("state", task.state)), values["status"])
    session.flush()
    changed = session.execute(
        update(InstallTask)
        .where(
            InstallTask.id == task.id, InstallTask.state == task.state, InstallTask.version == task.version
        )
        .values(**values, version=task.version + 1)
        .execution_options(synchronize_session=False)
    )
    if changed.rowcount != 1:  # type: ignore[attr-defined]
        raise Problem("conflict", f"the task is no longer {task.state}: somebody else was first")
    session.refresh(task)


def close_ticket(session: Session, ticket: Ticket, goal: TicketStatus, **also: Any) -> None:
    """End a pending ticket, if it still is as this session read it.

    Raises:
        Problem: `ticket_decided`, when somebody else was first.
    """
    session.flush()
    changed = session.execute(
        update(Ticket)
        .where(
            Ticket.id == ticket.id, Ticket.status == TicketStatus.PENDING, Ticket.version == ticket.version
        )
        .values(status=str(goal), version=ticket.version + 1, **also)
        .execution_options(synchronize_session=False)
    )
    if changed.rowcount != 1:  # type: ignore[attr-defined]
        raise Problem("ticket_decided", "somebody else decided it first")
    session.refresh(ticket)


def touch_ticket(session: Session, ticket: Ticket, **values: Any) -> None:
    """Change a pending ticket without ending it (assignment, another approval), guarded in the same way.

    Raises:
        Problem: `ticket_decided`, when somebody else was first.
    """
    session.flush()
    changed = session.execute(
        update(Ticket)
        .where(
            Ticket.id == ticket.id, Ticket.status == TicketStatus.PENDING, Ticket.version == ticket.version
        )
        .values(version=ticket.version + 1, **values)
        .execution_options(synchronize_session=False)
    )
    if changed.rowcount != 1:  # type: ignore[attr-defined]
        raise Problem("ticket_decided", "somebody else acted on it first; read it again")
    session.refresh(ticket)
