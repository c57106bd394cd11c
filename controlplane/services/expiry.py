# SPDX-License-Identifier: Apache-2.0
"""What time ends: previews that nobody applied, jobs whose workers were lost too often, old answers."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete, select

from controlplane.domain.errors import Problem
from controlplane.domain.install import TaskState
from controlplane.domain.permission import system_actor
from controlplane.domain.release import State
from controlplane.services import jobs, timeline
from controlplane.services.core import Core
from controlplane.services.job_kinds import KINDS
from controlplane.services.jobs import LeaseLost
from controlplane.store import events, guard, locking
from controlplane.store.tables import IdempotentAnswer, InstallTask, Release

ANSWER_KEPT = timedelta(days=1)
BATCH = 100


def expire_previews(core: Core) -> int:
    """End releases whose preview was not applied in time; return how many."""
    now = core.clock.now()
    query = select(Release.id).where(Release.state == State.PREVIEW, Release.preview_expires_at <= now)
    with core.database.read() as session:
        due = list(session.scalars(query.limit(BATCH)))
    return sum(_expire(core, release_id) for release_id in due)


def expire_install_previews(core: Core) -> int:
    """End installs whose preview was not applied in time; return how many."""
    now = core.clock.now()
    query = select(InstallTask.id).where(
        InstallTask.status.in_(("previewed", "preview_failed")), InstallTask.preview_expires_at <= now
    )
    with core.database.read() as session:
        due = list(session.scalars(query.limit(BATCH)))
    return sum(_expire_install(core, task_id) for task_id in due)


def _expire_install(core: Core, task_id: str) -> bool:
    now = core.clock.now()
    try:
        with core.database.write() as session:
            task = locking.task(session, task_id)
            if task.status not in ("previewed", "preview_failed"):
                return False
            guard.move_task(session, task, TaskState.CANCELLED, "expired", finished_at=now)
            told = timeline.task_event(task, "expired", "warning", error_key="preview_expired")
            events.append(session, system_actor("scheduler"), now, [told])
    except Problem:
        # It was applied between the look and the update.
        return False
    return True


def _expire(core: Core, release_id: str) -> bool:
    now = core.clock.now()
    try:
        with core.database.write() as session:
            release = locking.release(session, release_id)
            guard.move_release(session, release, State.EXPIRED, finished_at=now)
            told = timeline.release_event(release, "expired", "warning", error_key="preview_expired")
            events.append(session, system_actor("scheduler"), now, [told])
    except Problem:
        # It was applied between the look and the update.
        return False
    return True


def end_abandoned(core: Core) -> int:
    """End jobs whose workers were lost as often as is allowed, as `failed` with domain `lost`."""
    now = core.clock.now()
    with core.database.read() as session:
        if not jobs.abandoned(session, now):
            return 0
    ended = 0
    with core.database.write() as session:
        lost = []
        for job in jobs.abandoned(session, now):
            # Taking the fencing token first keeps a worker that comes back from writing.
            job.fencing_token += 1
            job.lease_owner = "scheduler"
            job.lease_expires_at = now + timedelta(seconds=core.settings.lease_seconds)
            lost.append(jobs.lease_of(job, "scheduler"))
    for lease in lost:
        try:
            said = f"its worker was lost {lease.attempt} times"
            KINDS[lease.kind](core, lease).refuse("worker_lost", said)
            ended += 1
        except (LeaseLost, Problem):
            continue
    return ended


def forget_answers(core: Core) -> int:
    """Remove answers to idempotent requests that are older than a day."""
    before = core.clock.now() - ANSWER_KEPT
    with core.database.read() as session:
        if (
            session.scalar(select(IdempotentAnswer.id).where(IdempotentAnswer.created_at < before).limit(1))
            is None
        ):
            return 0
    with core.database.write() as session:
        gone = session.execute(delete(IdempotentAnswer).where(IdempotentAnswer.created_at < before))
        return int(gone.rowcount)  # type: ignore[attr-defined]
