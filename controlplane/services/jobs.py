# SPDX-License-Identifier: Apache-2.0
"""Jobs: rows that a worker takes under a lease with a fencing token. The queue only says that there is work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, func, insert, or_, select, text, update
from sqlalchemy.orm import Session

from controlplane.domain import resources as locks
from controlplane.domain.errors import Problem
from controlplane.domain.identifier import new_id
from controlplane.domain.permission import Actor, Permission, system_actor
from controlplane.domain.release import State
from controlplane.domain.resources import Claim, blocker
from controlplane.ports.runner import RunEvent
from controlplane.services import access, run_place, timeline, views
from controlplane.services.core import Core
from controlplane.store import events, guard, locking, pages
from controlplane.store.tables import InstallTask, Job, JobLog, Release, Target

MAX_ATTEMPTS = 3
FILTERS = ("kind", "state", "outcome", "resource_id", "project_id")
# Any number will do as long as nothing else of the database uses it: it makes claims take turns on PostgreSQL.
_CLAIM_LOCK = 7_136_409


class LeaseLost(Exception):
    """Another worker has the job now: whoever catches this writes nothing more."""


@dataclass(frozen=True)
class Lease:
    """The right to work on a job: valid while the job's row carries this token.

    `request_id` is of the request that caused the job.
    """

    job_id: str
    kind: str
    resource_type: str
    resource_id: str
    owner: str
    token: int
    attempt: int
    request_id: str | None = None

    @property
    def actor(self) -> Actor:
        """Whose the events of the job are: the worker's, on behalf of the request."""
        return system_actor("worker", self.request_id)


def add(
    session: Session,
    now: datetime,
    *,
    kind: str,
    resource: tuple[str, str],
    project_id: str,
    resources: Sequence[str] = (),
    params: Mapping[str, Any] | None = None,
    request_id: str | None = None,
) -> Job:
    """Add a job in the transaction that decides on it. Call `core.queue.wake` with its id after the commit."""
    job = Job(
        id=new_id("job"),
        kind=kind,
        resource_type=resource[0],
        resource_id=resource[1],
        project_id=project_id,
        state="queued",
        params=dict(params or {}),
        resources=sorted(resources),
        created_at=now,
        due_at=now,
        request_id=request_id,
    )
    session.add(job)
    session.flush()
    return job


def add_apply(session: Session, release: Release, now: datetime, request_id: str | None) -> Job:
    """Add the job that applies an approved release, with what it touches at its target as what it locks."""
    target = session.get_one(Target, release.target_id)
    return add(
        session,
        now,
        kind="apply",
        resource=("release", release.id),
        project_id=release.project_id,
        resources=run_place.claims(target),
        request_id=request_id,
    )


def add_task(session: Session, task: InstallTask, now: datetime, request_id: str | None) -> Job:
    """Add the job that does a task, with the hosts of its nodes as what it locks."""
    return add(
        session,
        now,
        kind=task.subject,
        resource=(task.resource_type, task.id),
        project_id=task.project_id,
        resources=[locks.host(node["host_id"]) for node in task.nodes],
        request_id=request_id,
    )


def claim(core: Core, owner: str) -> Lease | None:
    """Take the next job whose turn it is, or one whose worker was lost; None when there is none.

    A job taken up too often is not handed out again: `abandoned` lists it. Whom the jobs before it wait for is told
    afterwards, each in a transaction of its own: in this one, nothing is locked but the job that is taken.
    """
    now = core.clock.now()
    with core.database.read() as session:
        if not _candidates(session, now):
            return None
    lease = None
    waiting: dict[str, str] = {}
    with core.database.write() as session:
        if not core.database.is_sqlite:
            session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _CLAIM_LOCK})
        claims = _claims(session, now)
        for job in _candidates(session, now):
            holder = blocker(job.id, job.resources, claims) if job.state == "queued" else None
            if holder is not None:
                if holder != job.waiting_for:
                    waiting[job.id] = holder
                continue
            # Somebody who changes it at this moment may be about to end it: then it is looked at again next time.
            due = _due(now).where(Job.id == job.id).with_for_update(skip_locked=True)
            if session.scalar(due.execution_options(populate_existing=True)) is not None:
                lease = _take(core, session, job, owner, now)
                break
    for job_id, holder in waiting.items():
        _show_waiting(core, job_id, holder, now)
    return lease


def _due(now: datetime) -> Select[Job]:
    is_due = (Job.state == "queued") & (Job.due_at <= now)
    is_lost = (Job.state == "running") & (Job.lease_expires_at < now)
    return select(Job).where(or_(is_due, is_lost), Job.attempt < MAX_ATTEMPTS)


def _candidates(session: Session, now: datetime) -> list[Job]:
    return list(session.scalars(_due(now).order_by(Job.created_at, Job.id)))


def _claims(session: Session, now: datetime) -> list[Claim]:
    live = select(Job).where(Job.state.in_(("queued", "running", "paused"))).order_by(Job.created_at, Job.id)
    return [Claim(job.id, frozenset(job.resources), job.state != "queued") for job in session.scalars(live)]


def _take(core: Core, session: Session, job: Job, owner: str, now: datetime) -> Lease:
    job.state = "running"
    job.waiting_for = None
    job.lease_owner = owner
    job.lease_expires_at = now + timedelta(seconds=core.settings.lease_seconds)
    job.fencing_token = _next_token(session, now)
    job.attempt += 1
    job.started_at = job.started_at or now
    session.flush()
    return lease_of(job, owner)


def lease_of(job: Job, owner: str) -> Lease:
    """Return the right to work on a job as its row says it now."""
    return Lease(
        job.id,
        job.kind,
        job.resource_type,
        job.resource_id,
        owner,
        job.fencing_token,
        job.attempt,
        job.request_id,
    )


def _next_token(session: Session, now: datetime) -> int:
    """Return a token greater than every one before, of whichever job: hosts remember the newest they have seen.

    It begins at the time in seconds, so that a database that was restored from a copy does not hand out tokens
    which hosts have seen already. Called under the lock that makes claims take turns.
    """
    newest = session.scalar(select(func.max(Job.fencing_token))) or 0
    return max(newest + 1, int(now.timestamp()))


def _show_waiting(core: Core, job_id: str, holder: str, now: datetime) -> None:
    """Say once on the timeline of what a job works on whom it waits for."""
    with core.database.write() as session:
        job = session.get_one(Job, job_id)
        locking.subject_of_job(session, job.resource_type, job.resource_id)
        session.refresh(job, with_for_update=True)
        if job.state != "queued" or job.waiting_for == holder:
            return
        job.waiting_for = holder
        told = _mark_waiting(session, job, holder)
        if told is not None:
            events.append(session, system_actor("worker", job.request_id), now, [told])


def _mark_waiting(session: Session, job: Job, holder: str) -> events.NewEvent | None:
    said = {"holder": holder, "resources": job.resources}
    task = session.get(InstallTask, job.resource_id) if job.resource_type.endswith("_task") else None
    if task is not None and task.status == "queued":
        guard.set_task_status(session, task, "waiting_lock")
        return timeline.task_event(task, "waiting_lock", "running", **said)
    release = session.get(Release, job.resource_id) if job.resource_type == "release" else None
    if release is None or release.state != State.APPROVED:
        return None
    guard.set_status(session, release, "waiting_lock")
    return timeline.release_event(release, "waiting_lock", "running", **said)


def heartbeat(core: Core, lease: Lease) -> bool:
    """Prolong the lease and say whether the job's cancellation was asked for.

    Raises:
        LeaseLost: another worker has it.
    """
    now = core.clock.now()
    with core.database.write() as session:
        held = session.execute(
            update(Job)
            .where(Job.id == lease.job_id, Job.fencing_token == lease.token, Job.state == "running")
            .values(lease_expires_at=now + timedelta(seconds=core.settings.lease_seconds))
            .execution_options(synchronize_session=False)
        )
        if held.rowcount != 1:  # type: ignore[attr-defined]
            raise LeaseLost(lease.job_id)
        return session.scalar(select(Job.cancel_requested_at).where(Job.id == lease.job_id)) is not None


def is_cancel_requested(core: Core, lease: Lease) -> bool:
    """Say whether the job's cancellation was asked for; a look, no write."""
    with core.database.read() as session:
        return session.scalar(select(Job.cancel_requested_at).where(Job.id == lease.job_id)) is not None


def fenced(session: Session, lease: Lease) -> Job:
    """Return the job's row, locked after what it is about, if the lease still holds.

    First thing in each transaction of a worker; the release or task is then read with `session.get_one`.

    Raises:
        LeaseLost: another worker has it.
    """
    locking.subject_of_job(session, lease.resource_type, lease.resource_id)
    job = session.scalar(select(Job).where(Job.id == lease.job_id).with_for_update())
    if job is None or job.fencing_token != lease.token or job.state != "running":
        raise LeaseLost(lease.job_id)
    return job


def finish(job: Job, now: datetime, outcome: str, result: Mapping[str, Any] | None = None) -> None:
    """End a job. `outcome`: succeeded failed cancelled."""
    job.state = "done"
    job.outcome = outcome
    job.result = dict(result or {})
    job.finished_at = now
    job.lease_expires_at = None
    job.waiting_for = None


def pause(job: Job) -> None:
    """Park a job that goes on at somebody's word. It keeps its resources."""
    job.state = "paused"
    job.lease_expires_at = None


def resume(job: Job, now: datetime, request_id: str | None, **params: Any) -> None:
    """Queue a parked job again at the word of a request, with its attempts counted anew."""
    job.request_id = request_id
    job.params = {**job.params, "begun": None, **params}
    job.state = "queued"
    job.attempt = 0
    job.due_at = now


def mark_begun(job: Job, token: int) -> int | None:
    """Note that the job's work begins under a token.

    Returns the token of the first run that began the same and was lost or given back, None when there was none.
    """
    before = job.params.get("begun")
    job.params = {**job.params, "begun": before or token}
    return int(before) if before else None


def decide(job: Job, now: datetime, request_id: str | None, verb: str) -> None:
    """End the run of a job at work, which then goes on with `verb` under another lease."""
    job.request_id = request_id
    job.params = {**job.params, "decision": verb}
    job.cancel_requested_at = now


def decision(job: Job) -> str | None:
    """Take the decision out of a job whose run was ended by it; None when it was ended to be cancelled."""
    found = job.params.get("decision")
    if found is not None:
        job.params = {name: value for name, value in job.params.items() if name != "decision"}
        job.cancel_requested_at = None
    return found


def release_to_others(core: Core, lease: Lease) -> None:
    """Give a lease back unfinished (the worker stops): the next worker takes the job up at once."""
    with core.database.write() as session:
        try:
            job = fenced(session, lease)
        except LeaseLost:
            return
        job.lease_expires_at = core.clock.now() - timedelta(seconds=1)
        job.attempt -= 1
    core.queue.wake(lease.job_id)


def abandoned(session: Session, now: datetime) -> list[Job]:
    """Return jobs whose workers were lost as often as is allowed: they are to be ended."""
    query = select(Job).where(Job.state == "running", Job.lease_expires_at < now, Job.attempt >= MAX_ATTEMPTS)
    return list(session.scalars(query.with_for_update(skip_locked=True)))


def write_logs(session: Session, lease: Lease, batch: Sequence[RunEvent]) -> None:
    """Keep what Ansible printed, one row an event."""
    rows = [
        {
            "job_id": lease.job_id,
            "run": lease.token,
            "counter": event.counter,
            "kind": event.kind,
            "host": event.host,
            "play": event.play[:255] if event.play else None,
            "task": event.task[:255] if event.task else None,
            "role": event.role[:255] if event.role else None,
            "changed": event.changed,
            "failed": event.failed or event.unreachable,
            "at": event.at,
            "stdout": event.stdout,
        }
        for event in batch
        if event.stdout
    ]
    if rows:
        session.execute(insert(JobLog), rows)


def get(core: Core, actor: Actor, job_id: str) -> dict[str, Any]:
    """Return one job. Raises Problem `not_found`, `permission_denied`."""
    with core.database.read() as session:
        job, project = access.load(session, Job, job_id, actor)
    access.require(core, actor, Permission.RELEASE_READ, project, about=("job", job_id))
    return views.job(job)


def list_(core: Core, actor: Actor, filters: Mapping[str, str], page: pages.PageRequest) -> pages.Page:
    """Return a page of jobs that the actor may read, newest first."""
    query = access.visible(select(Job), actor, Permission.RELEASE_READ, Job.project_id)
    for name, value in filters.items():
        if name not in FILTERS:
            raise Problem("validation_error", errors={name: [f"must be one of {', '.join(FILTERS)}"]})
        query = query.where(getattr(Job, name) == value)
    with core.database.read() as session:
        return pages.fetch_page(
            session, query, page, {"created_at": Job.created_at}, Job.id, views.job, "-created_at"
        )


def logs(
    core: Core, actor: Actor, job_id: str, after: int = 0, limit: int = 200, q: str | None = None
) -> dict[str, Any]:
    """Return what a job printed; see `lines`. Raises Problem `not_found`, `permission_denied`, `validation_error`."""
    get(core, actor, job_id)
    return lines(core, job_id, after, limit, q)


def lines(core: Core, job_id: str, after: int = 0, limit: int = 200, q: str | None = None) -> dict[str, Any]:
    """Return `{items, next}` of what a job printed, in order; `after` and `next` are `position`s.

    A position is run * 10**9 + counter, so that lines of a later run follow those of an earlier one. Who may read
    them is for the caller to ask.

    Args:
        q: only what has this text in it, in whichever case.

    Raises:
        Problem: `validation_error` (limit).
    """
    if not 1 <= limit <= pages.MOST:
        raise Problem("validation_error", errors={"limit": [f"must be from 1 to {pages.MOST}"]})
    run, counter = divmod(max(after, 0), 10**9)
    query = (
        select(JobLog)
        .where(
            JobLog.job_id == job_id,
            or_(JobLog.run > run, (JobLog.run == run) & (JobLog.counter > counter)),
        )
        .order_by(JobLog.run, JobLog.counter)
        .limit(limit + 1)
    )
    if q:
        query = query.where(JobLog.stdout.icontains(q, autoescape=True))
    with core.database.read() as session:
        rows = list(session.scalars(query))
    items = [
        {
            "position": row.run * 10**9 + row.counter,
            "run": row.run,
            "counter": row.counter,
            "host": row.host,
            "at": row.at,
            "stdout": row.stdout,
        }
        for row in rows[:limit]
    ]
    return {"items": items, "next": items[-1]["position"] if len(rows) > limit else None}


def release_logs(
    core: Core, actor: Actor, release_id: str, after: int = 0, limit: int = 200
) -> dict[str, Any]:
    """Return what the newest job of a release printed; see `logs`. `job_id` says whose lines they are."""
    with core.database.read() as session:
        timeline.load_release(session, actor, release_id)
        job_id = session.scalar(
            select(Job.id).where(Job.resource_id == release_id).order_by(Job.created_at.desc()).limit(1)
        )
    if job_id is None:
        return {"items": [], "next": None, "job_id": None}
    return {**logs(core, actor, job_id, after, limit), "job_id": job_id}
