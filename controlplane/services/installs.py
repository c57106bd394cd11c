# SPDX-License-Identifier: Apache-2.0
"""Installs of environments: previewed, applied, gone on with, taken back, read. DESIGN section 7."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from controlplane.domain import install as rules
from controlplane.domain import preview as previews
from controlplane.domain.errors import Problem
from controlplane.domain.identifier import new_id
from controlplane.domain.install import TaskState
from controlplane.domain.permission import Actor, Permission
from controlplane.services import access, approvals, install_spec, jobs, policy, timeline, views
from controlplane.services.core import Core
from controlplane.store import events, guard, pages
from controlplane.store.tables import Environment, InstallStep, InstallTask, Job, Project

POLL_SECONDS = 0.05
FILTERS = ("kind", "state")
LIVE = ("queued", "running", "paused")


def request_preview(
    core: Core, actor: Actor, environment_id: str, asked: Mapping[str, Any]
) -> dict[str, Any]:
    """Make a task in state `pending` and queue the job that previews it. It changes nothing on a host.

    Args:
        asked: `runtime_version`, `profile`, `inputs`; what is left out is the bundle's to say.

    Raises:
        Problem: `not_found`, `permission_denied`, `insufficient_nodes`, `conflict` (the environment is somebody
            else's, or a task of it is at work).
    """
    with core.database.read() as session:
        environment, project = access.load(session, Environment, environment_id, actor)
    _require_install(core, actor, environment, project)
    request = {name: asked.get(name) for name in ("runtime_version", "profile", "inputs")}
    return _queue_preview(core, actor, environment, project, request, None)


def request_rollback(
    core: Core, actor: Actor, environment_id: str, task_id: str | None = None
) -> dict[str, Any]:
    """Make a task that undoes an install, and queue its preview: what it would take away, host by host.

    Args:
        task_id: the install; the newest one that succeeded or failed when left out.

    Raises:
        Problem: as `request_preview`, and `not_found` where there is nothing to undo.
    """
    with core.database.read() as session:
        environment, project = access.load(session, Environment, environment_id, actor)
        undone = _undoable(session, environment_id, task_id)
    _require_install(core, actor, environment, project)
    return _queue_preview(core, actor, environment, project, install_spec.requested(core, undone), undone)


def _undoable(session: Session, environment_id: str, task_id: str | None) -> InstallTask:
    query = select(InstallTask).where(
        InstallTask.environment_id == environment_id,
        InstallTask.kind == "install",
        InstallTask.state.in_((TaskState.SUCCEEDED, TaskState.FAILED)),
        InstallTask.started_at.is_not(None),
    )
    if task_id is not None:
        query = query.where(InstallTask.id == task_id)
    found = session.scalar(query.order_by(InstallTask.created_at.desc(), InstallTask.id.desc()).limit(1))
    if found is None:
        raise Problem("not_found", f"there is no install to undo: {task_id or 'nothing was installed'}")
    return found


def _require_install(core: Core, actor: Actor, environment: Environment, project: Project) -> None:
    access.require(
        core, actor, Permission.ENVIRONMENT_INSTALL, project, about=("environment", environment.id)
    )
    if environment.mode != "platform_managed":
        raise Problem(
            "conflict",
            f"environment {environment.name} is {environment.mode}: nothing is installed there; "
            "make one whose mode is platform_managed",
        )


def _queue_preview(
    core: Core,
    actor: Actor,
    environment: Environment,
    project: Project,
    request: Mapping[str, Any],
    undone: InstallTask | None,
) -> dict[str, Any]:
    now = core.clock.now()
    with core.database.write() as session:
        nodes = list(undone.nodes) if undone else install_spec.nodes_of(session, environment.id)
        rules.check_nodes(environment.runtime_type, (node["role"] for node in nodes))
        _refuse_beside(session, environment)
        task = InstallTask(
            id=new_id("tsk"),
            project_id=project.id,
            team_id=project.team_id,
            environment_id=environment.id,
            environment_name=environment.name,
            stage=environment.stage,
            runtime_type=environment.runtime_type,
            kind="rollback" if undone else "install",
            undoes=undone.id if undone else None,
            state=str(TaskState.PENDING),
            status="previewing",
            nodes=nodes,
            request_cipher=core.vault.encrypt(json.dumps(request).encode()),
            trigger_source=actor.source,
            request_id=actor.request_id,
            created_by=actor.id,
            created_by_name=actor.name,
            created_at=now,
        )
        session.add(task)
        session.flush()
        job = jobs.add(
            session,
            now,
            kind="install_preview",
            resource=("install_task", task.id),
            project_id=project.id,
            request_id=actor.request_id,
        )
    core.queue.wake(job.id)
    return {**views.install_task(task), "preview": None, "job_id": job.id}


def _refuse_beside(session: Session, environment: Environment) -> None:
    """Two tasks of an environment are never at work; the hosts' own lock says the same to others."""
    other = session.scalar(
        select(InstallTask.id).where(
            InstallTask.environment_id == environment.id,
            InstallTask.status.in_(("queued", "waiting_lock", "running", "cancelling")),
        )
    )
    if other is not None:
        raise Problem("conflict", f"task {other} is at work on environment {environment.name}")


def await_preview(core: Core, actor: Actor, task_id: str, seconds: float) -> dict[str, Any]:
    """Wait until a preview is made or the time is over; return the task with its preview.

    Raises:
        Problem: `not_found`, `permission_denied`.
    """
    until = time.monotonic() + min(max(seconds, 0.0), 300.0)
    while True:
        task, _project = _readable(core, actor, task_id)
        if task.status != "previewing" or time.monotonic() >= until:
            return {**views.install_task(task), "preview": views.install_preview(task)}
        time.sleep(POLL_SECONDS)


def apply(
    core: Core, actor: Actor, environment_id: str, preview_ref: str | None, kind: str = "install"
) -> dict[str, Any]:
    """Start what a preview showed, or ask for the approval that policy wants. Returns the task.

    Raises:
        Problem: `preview_required`, `preview_expired`, `preview_used`, `preview_mismatch` (of another environment
            or kind), `preview_stale` (the nodes are others now, or another task was at work since),
            `permission_denied`, `conflict`.
    """
    task, project = _of_preview(core, actor, environment_id, preview_ref, kind)
    access.require(core, actor, Permission.ENVIRONMENT_INSTALL, project, about=("install_task", task.id))
    now = core.clock.now()
    job_id = None
    with core.database.write() as session:
        environment = session.get_one(Environment, environment_id, with_for_update=True)
        task = session.get_one(InstallTask, task.id, with_for_update=True)
        previews.check_usable(
            preview_ref=task.preview_ref,
            state="preview" if task.state == TaskState.PENDING else task.status,
            used_at=task.preview_used_at,
            expires_at=task.preview_expires_at,
            now=now,
        )
        _check_not_stale(session, task)
        _refuse_beside(session, environment)
        asked, risk, reasons = policy.ask(core, project, task.stage, _action(task), _facts(task))
        requested = timeline.install_event(task, "requested", preview_digest=task.preview_digest)
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
            job_id = jobs.add_install(session, task, now, actor.request_id).id
            told = [timeline.install_event(task, "approved", by="policy")]
        events.append(session, actor, now, [requested, *told])
    if job_id:
        core.queue.wake(job_id)
    return views.install_task(task)


def _action(task: InstallTask) -> str:
    return "rollback" if task.kind == "rollback" else "install"


def _facts(task: InstallTask) -> list[str]:
    facts: list[str] = (task.preview or {}).get("risk_facts", [])
    return facts


def _of_preview(
    core: Core, actor: Actor, environment_id: str, preview_ref: str | None, kind: str
) -> tuple[InstallTask, Project]:
    if not preview_ref:
        raise Problem("preview_required")
    with core.database.read() as session:
        access.load(session, Environment, environment_id, actor)
        task = session.scalar(select(InstallTask).where(InstallTask.preview_ref == preview_ref))
        project = session.get(Project, task.project_id) if task else None
    if task is None or project is None or not actor.sees(project.id, project.team_id):
        raise Problem("preview_required", "there is no such preview")
    if task.environment_id != environment_id or task.kind != kind:
        raise Problem(
            "preview_mismatch",
            f"the preview is of another action: {task.kind} of environment {task.environment_name}",
            errors={"preview_ref": ["other action"]},
        )
    return task, project


def _check_not_stale(session: Session, task: InstallTask) -> None:
    """Refuse what the control plane knows to have moved; the playbook compares with the hosts themselves."""
    moved = []
    if task.kind == "install" and install_spec.nodes_of(session, task.environment_id) != task.nodes:
        moved.append("the environment's nodes")
    later = session.scalar(
        select(InstallTask.id).where(
            InstallTask.environment_id == task.environment_id,
            InstallTask.id != task.id,
            InstallTask.started_at > task.created_at,
        )
    )
    if later is not None:
        moved.append(f"task {later}")
    if moved:
        raise Problem("preview_stale", f"changed since: {', '.join(moved)}", extra={"moved": moved})


def cancel(core: Core, actor: Actor, task_id: str, environment_id: str) -> dict[str, Any]:
    """Take a task back: at once before it started; while it runs, ask its worker to end it after what is done.

    Raises:
        Problem: `not_found`, `permission_denied`, `conflict` (it has ended).
    """
    _changeable(core, actor, task_id, environment_id)
    now = core.clock.now()
    with core.database.write() as session:
        task = session.get_one(InstallTask, task_id, with_for_update=True)
        job = _live_job(session, task_id)
        if task.state == TaskState.RUNNING:
            guard.set_task_status(session, task, "cancelling", cancel_requested_at=now)
            told = [timeline.install_event(task, "cancel_requested", "running")]
            if job is not None:
                job.cancel_requested_at = now
        else:
            guard.move_task(session, task, TaskState.CANCELLED, finished_at=now)
            told = [timeline.install_event(task, "cancelled")]
            told += approvals.void(session, actor, task, "cancelled", now)
            if job is not None:
                jobs.finish(job, now, "cancelled")
        events.append(session, actor, now, told)
    if job is not None:
        core.queue.wake(job.id)
    return views.install_task(task)


def retry(core: Core, actor: Actor, task_id: str, environment_id: str) -> dict[str, Any]:
    """Let a failed task go on at the step that failed: what was previewed and approved, on the same hosts.

    Raises:
        Problem: `not_found`, `permission_denied`, `conflict` (it has not failed, or another task was at work since),
            `preview_stale` (the environment's nodes are others now).
    """
    _changeable(core, actor, task_id, environment_id)
    now = core.clock.now()
    with core.database.write() as session:
        task = session.get_one(InstallTask, task_id, with_for_update=True)
        environment = session.get_one(Environment, task.environment_id, with_for_update=True)
        rules.check_transition(TaskState(task.state), TaskState.PENDING)
        _check_not_stale(session, task)
        _refuse_beside(session, environment)
        guard.move_task(
            session,
            task,
            TaskState.PENDING,
            "queued",
            finished_at=None,
            cancel_requested_at=None,
            diagnostics=None,
        )
        job = jobs.add_install(session, task, now, actor.request_id)
        events.append(
            session, actor, now, [timeline.install_event(task, "retried", "running", by=actor.name)]
        )
    core.queue.wake(job.id)
    return views.install_task(task)


def _live_job(session: Session, task_id: str) -> Job | None:
    return session.scalar(
        select(Job)
        .where(Job.resource_id == task_id, Job.kind == "install", Job.state.in_(LIVE))
        .with_for_update()
    )


def _changeable(core: Core, actor: Actor, task_id: str, environment_id: str) -> None:
    _of_environment(core, actor, task_id, environment_id)
    _task, project = _load(core, actor, task_id)
    access.require(core, actor, Permission.ENVIRONMENT_INSTALL, project, about=("install_task", task_id))


def _readable(core: Core, actor: Actor, task_id: str) -> tuple[InstallTask, Project]:
    task, project = _load(core, actor, task_id)
    access.require(core, actor, Permission.ENVIRONMENT_READ, project, about=("install_task", task_id))
    return task, project


def _load(core: Core, actor: Actor, task_id: str) -> tuple[InstallTask, Project]:
    with core.database.read() as session:
        try:
            return access.load(session, InstallTask, task_id, actor)
        except Problem:
            raise Problem("not_found", f"there is no task {task_id}") from None


def list_(
    core: Core, actor: Actor, environment_id: str, filters: Mapping[str, str], page: pages.PageRequest
) -> pages.Page:
    """Return a page of an environment's tasks, newest first. Filters: `kind`, `state`.

    Raises:
        Problem: `not_found`, `permission_denied`, `validation_error`.
    """
    with core.database.read() as session:
        _environment, project = access.load(session, Environment, environment_id, actor)
    access.require(core, actor, Permission.ENVIRONMENT_READ, project, about=("environment", environment_id))
    query = select(InstallTask).where(InstallTask.environment_id == environment_id)
    for name, value in filters.items():
        if name not in FILTERS:
            raise Problem("validation_error", errors={name: [f"must be one of {', '.join(FILTERS)}"]})
        query = query.where(getattr(InstallTask, name) == value)
    with core.database.read() as session:
        sortable = {"created_at": InstallTask.created_at}
        return pages.fetch_page(
            session, query, page, sortable, InstallTask.id, views.install_task, "-created_at"
        )


def get(core: Core, actor: Actor, task_id: str, environment_id: str) -> dict[str, Any]:
    """Return a task with its preview, its steps by host, and its jobs.

    Raises:
        Problem: `not_found` (also where it is another environment's), `permission_denied`.
    """
    task = _of_environment(core, actor, task_id, environment_id)
    with core.database.read() as session:
        steps = session.scalars(
            select(InstallStep)
            .where(InstallStep.task_id == task_id)
            .order_by(InstallStep.host, InstallStep.position)
        )
        its_jobs = session.scalars(select(Job).where(Job.resource_id == task_id).order_by(Job.created_at))
        return {
            **views.install_task(task),
            "preview": views.install_preview(task),
            "steps": [views.install_step(row) for row in steps],
            "jobs": [views.job(row) for row in its_jobs],
        }


def timeline_of(
    core: Core, actor: Actor, task_id: str, environment_id: str, after: int = 0, limit: int = 100
) -> dict[str, Any]:
    """Return `{items, next}`: the events of a task after a seq.

    Raises:
        Problem: `not_found`, `permission_denied`, `validation_error` (limit).
    """
    return timeline.of_task(core, _of_environment(core, actor, task_id, environment_id), after, limit)


def ended(core: Core, actor: Actor, task_id: str) -> dict[str, Any] | None:
    """Return a task's last state once it has ended, else None."""
    task, _project = _readable(core, actor, task_id)
    if TaskState(task.state) not in rules.ENDS:
        return None
    return {"task_id": task.id, "state": task.state, "status": task.status}


def _of_environment(core: Core, actor: Actor, task_id: str, environment_id: str) -> InstallTask:
    task, _project = _readable(core, actor, task_id)
    if task.environment_id != environment_id:
        raise Problem("not_found", f"there is no task {task_id} of environment {environment_id}")
    return task


def logs(
    core: Core,
    actor: Actor,
    task_id: str,
    environment_id: str,
    after: int = 0,
    limit: int = 200,
    q: str | None = None,
) -> dict[str, Any]:
    """Return what a task's newest job printed; see `jobs.logs`. `job_id` says whose lines they are.

    Raises:
        Problem: `not_found`, `permission_denied`, `validation_error`.
    """
    _of_environment(core, actor, task_id, environment_id)
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
