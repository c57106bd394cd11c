# SPDX-License-Identifier: Apache-2.0
"""Tasks on hosts, whatever they are about: applied from a preview, gone on with, taken back, read. DESIGN section 7."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy import delete as sql_delete
from sqlalchemy.orm import InstrumentedAttribute, Session

from controlplane.domain import install as rules
from controlplane.domain import preview as previews
from controlplane.domain.errors import Problem
from controlplane.domain.identifier import new_id
from controlplane.domain.install import TaskState
from controlplane.domain.network_entry import strictest_stage
from controlplane.domain.permission import Actor, Permission
from controlplane.services import access, approvals, jobs, policy, timeline, views
from controlplane.services.core import Beside, Core
from controlplane.store import events, guard, locking, pages
from controlplane.store.tables import Cluster, Environment, InstallStep, InstallTask, Job, Project

POLL_SECONDS = 0.05
FILTERS = ("kind", "state")
LIVE = ("queued", "running", "paused")
AT_WORK = ("queued", "waiting_lock", "running", "cancelling")
Owner = Environment | Cluster


@dataclass(frozen=True)
class Subject:
    """What tasks are about: whose they are, who may read and change them, what makes a preview of one stale.

    `owner_id` is the column that names the owner; `load` returns owner and project, or raises where the actor does
    not see them; `moved` names what the control plane knows to have moved since a task was previewed; `stages`
    are those that it is used in now.
    """

    name: str
    table: type[Owner]
    owner_id: InstrumentedAttribute[str | None]
    read: Permission
    change: Permission
    load: Callable[[Session, str, Actor], tuple[Owner, Project]]
    moved: Callable[[Session, InstallTask], list[str]]
    stages: Callable[[Session, Any], list[str]]

    def readable(self, core: Core, actor: Actor, owner_id: str) -> tuple[Owner, Project]:
        """Return an owner and its project. Raises Problem `not_found` or its like, `permission_denied`."""
        return self._loaded(core, actor, owner_id, self.read)

    def changeable(self, core: Core, actor: Actor, owner_id: str) -> tuple[Owner, Project]:
        """Return an owner whose tasks the actor may make. Raises as `readable`."""
        return self._loaded(core, actor, owner_id, self.change)

    def owner(self, session: Session, owner_id: str) -> Owner:
        """Return an owner, as a session has it: `store.locking.task` locks it, so that its tasks take turns."""
        found: Owner = session.get_one(self.table, owner_id)  # type: ignore[assignment]
        return found

    def _loaded(
        self, core: Core, actor: Actor, owner_id: str, permission: Permission
    ) -> tuple[Owner, Project]:
        with core.database.read() as session:
            owner, project = self.load(session, owner_id, actor)
        access.require(core, actor, permission, project, about=(self.table.__name__.lower(), owner_id))
        return owner, project


def queue_preview(
    core: Core,
    actor: Actor,
    subject: Subject,
    owner: Owner,
    project: Project,
    *,
    kind: str,
    nodes: Sequence[Mapping[str, str]],
    request: Mapping[str, Any],
    undoes: str | None = None,
    beside: Beside | None = None,
    **named: Any,
) -> dict[str, Any]:
    """Make a task in state `pending` and queue the job that previews it. It changes nothing on a host.

    Args:
        request: what was asked for; kept encrypted.
        beside: called with the task's id in the transaction that makes it; what it raises undoes both.
        named: the columns that say whose it is, and its stage and runtime.

    Raises:
        Problem: `conflict`, where a task of the owner is at work.
    """
    with core.database.write() as session:
        refuse_beside(session, subject, owner)
        task, job = add_preview(
            core, session, actor, subject.name, project, kind=kind, nodes=nodes, request=request, undoes=undoes,
            **named,
        )  # fmt: skip
        if beside is not None:
            beside(session, task.id)
    core.queue.wake(job.id)
    return {**views.task(task), "preview": None, "job_id": job.id}


def add_preview(
    core: Core,
    session: Session,
    actor: Actor,
    subject: str,
    project: Project,
    *,
    nodes: Sequence[Mapping[str, str]],
    request: Mapping[str, Any],
    **named: Any,
) -> tuple[InstallTask, Job]:
    """Make a task and the job that previews it, in the transaction that decides on it; wake the queue afterwards.

    Args:
        request: what was asked for; kept encrypted.
        named: other columns: what kind it is, whose, of which stage and runtime.
    """
    now = core.clock.now()
    task = InstallTask(
        id=new_id("tsk"),
        project_id=project.id,
        team_id=project.team_id,
        subject=subject,
        state=str(TaskState.PENDING),
        status="previewing",
        nodes=list(nodes),
        request_cipher=core.vault.encrypt(json.dumps(request).encode()),
        trigger_source=actor.source,
        request_id=actor.request_id,
        created_by=actor.id,
        created_by_name=actor.name,
        created_at=now,
        **named,
    )
    session.add(task)
    session.flush()
    job = jobs.add(
        session,
        now,
        kind=f"{subject}_preview",
        resource=(task.resource_type, task.id),
        project_id=project.id,
        request_id=actor.request_id,
    )
    return task, job


def requested(core: Core, task: InstallTask) -> dict[str, Any]:
    """Return what was asked for when a task was made. It may hold secrets."""
    found: dict[str, Any] = json.loads(core.vault.decrypt(task.request_cipher))
    return found


def newest(
    session: Session, subject: Subject, owner_id: str, kind: str, states: Sequence[TaskState]
) -> InstallTask | None:
    """Return the newest task of a kind that was begun and is in one of these states now."""
    query = select(InstallTask).where(
        InstallTask.subject == subject.name,
        subject.owner_id == owner_id,
        InstallTask.kind == kind,
        InstallTask.state.in_(states),
        InstallTask.started_at.is_not(None),
    )
    return session.scalar(query.order_by(InstallTask.created_at.desc(), InstallTask.id.desc()).limit(1))


def forget(session: Session, subject: Subject, owner: Owner) -> None:
    """Delete what is kept of an owner's tasks; their events stay.

    Raises:
        Problem: `resource_in_use`, while one is at work or waits for a decision.
    """
    its_own = select(InstallTask).where(InstallTask.subject == subject.name, subject.owner_id == owner.id)
    found = list(session.scalars(its_own))
    live = [task.id for task in found if TaskState(task.state) not in rules.ENDS]
    if live:
        raise Problem("resource_in_use", f"{_called(owner)} has tasks at work: {', '.join(live)}")
    ids = [task.id for task in found]
    session.execute(sql_delete(InstallStep).where(InstallStep.task_id.in_(ids)))
    session.execute(sql_delete(InstallTask).where(InstallTask.id.in_(ids)))


def refuse_beside(session: Session, subject: Subject, owner: Owner) -> None:
    """Two tasks of an owner are never at work; the hosts' own lock says the same to others.

    Raises:
        Problem: `conflict`.
    """
    other = session.scalar(
        select(InstallTask.id).where(
            InstallTask.subject == subject.name,
            subject.owner_id == owner.id,
            InstallTask.status.in_(AT_WORK),
        )
    )
    if other is not None:
        raise Problem("conflict", f"task {other} is at work on {_called(owner)}")


def _called(owner: Owner) -> str:
    return f"{type(owner).__name__.lower()} {owner.name}"


def await_preview(core: Core, actor: Actor, subject: Subject, task_id: str, seconds: float) -> dict[str, Any]:
    """Wait until a preview is made or the time is over; return the task with its preview.

    Raises:
        Problem: `not_found`, `permission_denied`.
    """
    until = time.monotonic() + min(max(seconds, 0.0), 300.0)
    while True:
        task = _readable(core, actor, subject, task_id)
        if task.status != "previewing" or time.monotonic() >= until:
            return {**views.task(task), "preview": views.task_preview(task)}
        time.sleep(POLL_SECONDS)


def apply(
    core: Core, actor: Actor, subject: Subject, owner_id: str, preview_ref: str | None, kind: str
) -> dict[str, Any]:
    """Start what a preview showed, or ask for the approval that policy wants. Returns the task.

    Raises:
        Problem: `preview_required`, `preview_expired`, `preview_used`, `preview_mismatch` (of another owner
            or kind), `preview_stale` (the nodes are others now, or another task was at work since),
            `permission_denied`, `conflict`.
    """
    task, project = _of_preview(core, actor, subject, owner_id, preview_ref, kind)
    access.require(core, actor, subject.change, project, about=(task.resource_type, task.id))
    facts: list[str] = (task.preview or {}).get("risk_facts", [])
    action = rules.policy_action(task.subject, task.kind)
    about = (task.resource_type, task.id)
    asked, risk, reasons = policy.ask_for(core, actor, project, task.stage, action, facts, about=about)
    now = core.clock.now()
    job_id = None
    with core.database.write() as session:
        task = locking.task(session, task.id)
        owner = subject.owner(session, owner_id)
        previews.check_usable(
            preview_ref=task.preview_ref,
            state="preview" if task.state == TaskState.PENDING else task.status,
            used_at=task.preview_used_at,
            expires_at=task.preview_expires_at,
            now=now,
        )
        _check_not_stale(session, subject, task)
        refuse_beside(session, subject, owner)
        told_first = timeline.task_event(task, "requested", preview_digest=task.preview_digest)
        guard.set_task_status(
            session,
            task,
            "pending_approval" if asked.needs_approval else "queued",
            preview_used_at=now,
            applied_by=actor.id,
            approval_required=asked.needs_approval,
        )
        if asked.needs_approval:
            told = approvals.open_ticket(session, actor, task, asked, risk, reasons, now)
        else:
            job_id = jobs.add_task(session, task, now, actor.request_id).id
            told = [timeline.task_event(task, "approved", by="policy")]
        events.append(session, actor, now, [told_first, *told])
    if job_id:
        core.queue.wake(job_id)
    return views.task(task)


def _of_preview(
    core: Core, actor: Actor, subject: Subject, owner_id: str, preview_ref: str | None, kind: str
) -> tuple[InstallTask, Project]:
    if not preview_ref:
        raise Problem("preview_required")
    with core.database.read() as session:
        subject.load(session, owner_id, actor)
        task = session.scalar(select(InstallTask).where(InstallTask.preview_ref == preview_ref))
        project = session.get(Project, task.project_id) if task else None
    if task is None or project is None or not actor.sees(project.id, project.team_id):
        raise Problem("preview_required", "there is no such preview")
    if not _is_of(subject, task, owner_id) or task.kind != kind:
        of = task.environment_name if task.subject == "install" else task.cluster_name
        raise Problem(
            "preview_mismatch",
            f"the preview is of another action: {task.kind} ({task.subject}) of {of}",
            errors={"preview_ref": ["other action"]},
        )
    return task, project


def _check_not_stale(session: Session, subject: Subject, task: InstallTask) -> None:
    """Refuse what the control plane knows to have moved; the playbook compares with the hosts themselves."""
    moved = subject.moved(session, task)
    owner_id: str = getattr(task, subject.owner_id.key)
    stages = subject.stages(session, subject.owner(session, owner_id))
    # What asked for more than is asked for now may go on.
    if strictest_stage([*stages, task.stage]) != task.stage:
        moved.append("the stage")
    later = session.scalar(
        select(InstallTask.id).where(
            InstallTask.subject == subject.name,
            subject.owner_id == owner_id,
            InstallTask.id != task.id,
            InstallTask.started_at > task.created_at,
        )
    )
    if later is not None:
        moved.append(f"task {later}")
    if moved:
        raise Problem("preview_stale", f"changed since: {', '.join(moved)}", extra={"moved": moved})


def cancel(core: Core, actor: Actor, subject: Subject, task_id: str, owner_id: str) -> dict[str, Any]:
    """Take a task back: at once before it started; while it runs, ask its worker to end it after what is done.

    Raises:
        Problem: `not_found`, `permission_denied`, `conflict` (it has ended).
    """
    _changeable(core, actor, subject, task_id, owner_id)
    now = core.clock.now()
    with core.database.write() as session:
        task = locking.task(session, task_id)
        job = _live_job(session, task)
        if task.state == TaskState.RUNNING:
            guard.set_task_status(session, task, "cancelling", cancel_requested_at=now)
            told = [timeline.task_event(task, "cancel_requested", "running")]
            if job is not None:
                job.cancel_requested_at = now
        else:
            guard.move_task(session, task, TaskState.CANCELLED, finished_at=now)
            told = [timeline.task_event(task, "cancelled")]
            told += approvals.void(session, actor, task, "cancelled", now)
            if job is not None:
                jobs.finish(job, now, "cancelled")
        events.append(session, actor, now, told)
    if job is not None:
        core.queue.wake(job.id)
    return views.task(task)


def retry(core: Core, actor: Actor, subject: Subject, task_id: str, owner_id: str) -> dict[str, Any]:
    """Let a failed task go on at the step that failed: what was previewed and approved, on the same hosts.

    Raises:
        Problem: `not_found`, `permission_denied`, `conflict` (it has not failed, or another task was at work since),
            `preview_stale` (the nodes are others now).
    """
    _changeable(core, actor, subject, task_id, owner_id)
    now = core.clock.now()
    with core.database.write() as session:
        task = locking.task(session, task_id)
        owner = subject.owner(session, owner_id)
        rules.check_transition(TaskState(task.state), TaskState.PENDING)
        _check_not_stale(session, subject, task)
        refuse_beside(session, subject, owner)
        guard.move_task(
            session,
            task,
            TaskState.PENDING,
            "queued",
            finished_at=None,
            cancel_requested_at=None,
            diagnostics=None,
        )
        job = jobs.add_task(session, task, now, actor.request_id)
        events.append(session, actor, now, [timeline.task_event(task, "retried", "running", by=actor.name)])
    core.queue.wake(job.id)
    return views.task(task)


def _live_job(session: Session, task: InstallTask) -> Job | None:
    return session.scalar(
        select(Job)
        .where(Job.resource_id == task.id, Job.kind == task.subject, Job.state.in_(LIVE))
        .with_for_update()
    )


def _changeable(core: Core, actor: Actor, subject: Subject, task_id: str, owner_id: str) -> None:
    _of_owner(core, actor, subject, task_id, owner_id)
    with core.database.read() as session:
        task, project = access.load(session, InstallTask, task_id, actor)
    access.require(core, actor, subject.change, project, about=(task.resource_type, task_id))


def _readable(core: Core, actor: Actor, subject: Subject, task_id: str) -> InstallTask:
    with core.database.read() as session:
        try:
            task, project = access.load(session, InstallTask, task_id, actor)
        except Problem:
            raise Problem("not_found", f"there is no task {task_id}") from None
    access.require(core, actor, subject.read, project, about=(task.resource_type, task_id))
    return task


def _of_owner(core: Core, actor: Actor, subject: Subject, task_id: str, owner_id: str) -> InstallTask:
    task = _readable(core, actor, subject, task_id)
    if not _is_of(subject, task, owner_id):
        raise Problem("not_found", f"there is no task {task_id} of {owner_id}")
    return task


def _is_of(subject: Subject, task: InstallTask, owner_id: str) -> bool:
    return task.subject == subject.name and getattr(task, subject.owner_id.key) == owner_id


def list_(
    core: Core,
    actor: Actor,
    subject: Subject,
    owner_id: str,
    filters: Mapping[str, str],
    page: pages.PageRequest,
) -> pages.Page:
    """Return a page of an owner's tasks, newest first. Filters: `kind`, `state`.

    Raises:
        Problem: `not_found` or its like, `permission_denied`, `validation_error`.
    """
    subject.readable(core, actor, owner_id)
    query = select(InstallTask).where(InstallTask.subject == subject.name, subject.owner_id == owner_id)
    for name, value in filters.items():
        if name not in FILTERS:
            raise Problem("validation_error", errors={name: [f"must be one of {', '.join(FILTERS)}"]})
        query = query.where(getattr(InstallTask, name) == value)
    with core.database.read() as session:
        sortable = {"created_at": InstallTask.created_at}
        return pages.fetch_page(session, query, page, sortable, InstallTask.id, views.task, "-created_at")


def get(core: Core, actor: Actor, subject: Subject, task_id: str, owner_id: str) -> dict[str, Any]:
    """Return a task with its preview, its steps by host, and its jobs.

    Raises:
        Problem: `not_found` (also where it is another owner's), `permission_denied`.
    """
    task = _of_owner(core, actor, subject, task_id, owner_id)
    with core.database.read() as session:
        steps = session.scalars(
            select(InstallStep)
            .where(InstallStep.task_id == task_id)
            .order_by(InstallStep.host, InstallStep.position)
        )
        its_jobs = session.scalars(select(Job).where(Job.resource_id == task_id).order_by(Job.created_at))
        return {
            **views.task(task),
            "preview": views.task_preview(task),
            "steps": [views.install_step(row) for row in steps],
            "jobs": [views.job(row) for row in its_jobs],
            "post_tasks": following(session, InstallTask.follows == task_id),
        }


def following(session: Session, where: ColumnElement[bool]) -> list[dict[str, Any]]:
    """Return the tasks that followed others by themselves, the oldest first, in short."""
    query = select(InstallTask).where(InstallTask.follows.is_not(None), where)
    rows = session.scalars(query.order_by(InstallTask.created_at, InstallTask.id).limit(pages.MOST))
    return [views.post_task(row) for row in rows]


def timeline_of(
    core: Core, actor: Actor, subject: Subject, task_id: str, owner_id: str, after: int = 0, limit: int = 100
) -> dict[str, Any]:
    """Return `{items, next}`: the events of a task after a seq.

    Raises:
        Problem: `not_found`, `permission_denied`, `validation_error` (limit).
    """
    return timeline.of_task(core, _of_owner(core, actor, subject, task_id, owner_id), after, limit)


def ended(core: Core, actor: Actor, subject: Subject, task_id: str) -> dict[str, Any] | None:
    """Return a task's last state once it has ended, else None."""
    task = _readable(core, actor, subject, task_id)
    if TaskState(task.state) not in rules.ENDS:
        return None
    return {"task_id": task.id, "state": task.state, "status": task.status}


def logs(
    core: Core,
    actor: Actor,
    subject: Subject,
    task_id: str,
    owner_id: str,
    after: int = 0,
    limit: int = 200,
    q: str | None = None,
) -> dict[str, Any]:
    """Return what a task's newest job printed; see `jobs.logs`. `job_id` says whose lines they are.

    Raises:
        Problem: `not_found`, `permission_denied`, `validation_error`.
    """
    _of_owner(core, actor, subject, task_id, owner_id)
    with core.database.read() as session:
        job_id = session.scalar(
            select(Job.id)
            .where(Job.resource_id == task_id)
            .order_by(Job.created_at.desc(), Job.id.desc())
            .limit(1)
        )
    if job_id is None:
        return {"items": [], "next": None, "job_id": None}
    return {**jobs.lines(core, job_id, after, limit, q), "job_id": job_id}
