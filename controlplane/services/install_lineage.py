# SPDX-License-Identifier: Apache-2.0
"""Which installs of an environment came before which: a rollback takes back one, with all that came after it."""

from __future__ import annotations

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from controlplane.domain.install import TaskState
from controlplane.store.tables import InstallTask


def stands_before(session: Session, task: InstallTask) -> InstallTask | None:
    """Return the newest install before a task that succeeded and was not rolled back; None where the environment
    begins with the task."""
    query = _installs(task, TaskState.SUCCEEDED).where(InstallTask.started_at < task.started_at)
    return session.scalar(query.order_by(InstallTask.started_at.desc(), InstallTask.id.desc()).limit(1))


def with_later(session: Session, task: InstallTask) -> list[InstallTask]:
    """Return a task that is to be undone and the installs that were begun after it, in their order: they stand on it,
    and go with it."""
    query = _installs(task, TaskState.SUCCEEDED, TaskState.FAILED).where(
        InstallTask.started_at > task.started_at
    )
    later = session.scalars(query.order_by(InstallTask.started_at, InstallTask.id))
    return [task, *(one for one in later if one.id != task.id)]


def _installs(task: InstallTask, *states: TaskState) -> Select[InstallTask]:
    return select(InstallTask).where(
        InstallTask.subject == "install",
        InstallTask.environment_id == task.environment_id,
        InstallTask.kind == "install",
        InstallTask.state.in_(states),
    )
