# SPDX-License-Identifier: Apache-2.0
"""Jobs: releases and installs that were launched through this door, in AWX's words."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, case, func, or_, select, update
from sqlalchemy.orm import aliased, defer

from controlplane.awx import ids, installs, kinds, launching, releases, resource, resources, templates
from controlplane.awx.launching import Origin
from controlplane.awx.resource import Column, Resource
from controlplane.awx.resources import PREFIX, InventoryId, ProjectId, number_of, summary
from controlplane.domain.errors import Problem
from controlplane.domain.permission import Actor
from controlplane.services import views
from controlplane.services.core import Core
from controlplane.store.tables import AwxId, AwxJob, InstallTask, Job, Project, Release

STATUSES = ("pending", "waiting", "running", "successful", "failed", "error", "canceled")
_NOT_WELL = ("failed", "error", "canceled")
ENDED = ("successful", *_NOT_WELL)
UserId = aliased(AwxId)
# What nothing here shows, and is as large as what is released.
_UNREAD = (
    defer(Release.preview), defer(Release.payload_cipher), defer(Release.inputs_cipher),
)  # fmt: skip
STATUS = case((AwxJob.task_id.is_not(None), installs.STATUS), else_=releases.STATUS)
STARTED = func.coalesce(Release.started_at, InstallTask.started_at)
# A release that is rolled back later was finished before; one that was never applied ended when it was refused.
FINISHED = func.coalesce(AwxJob.ended_at, Release.finished_at, InstallTask.finished_at)
_project_id = func.coalesce(Release.project_id, InstallTask.project_id)
_created_by_name = func.coalesce(Release.created_by_name, InstallTask.created_by_name)
_holder = (
    select(Job.waiting_for)
    .where(
        Job.resource_id == func.coalesce(AwxJob.release_id, AwxJob.task_id),
        Job.kind.in_(("apply", "install")),
        Job.state == "queued",
    )
    .limit(1)
    .correlate(AwxJob)
    .scalar_subquery()
)


def joined(query: Select[Any]) -> Select[Any]:
    """Join jobs with what they are."""
    return query.outerjoin(Release, Release.id == AwxJob.release_id).outerjoin(
        InstallTask, InstallTask.id == AwxJob.task_id
    )


def visible(query: Select[Any], actor: Actor) -> Select[Any]:
    """Narrow jobs to those that the actor may see."""
    each = ((kinds.RELEASES, Release), (kinds.INSTALLS, InstallTask))
    return query.where(
        or_(
            *(
                and_(table.id.is_not(None), resources.within(actor, table.project_id, about.read))
                for about, table in each
            )
        )
    )


def _select(actor: Actor) -> Select[Any]:
    return visible(_rows(), actor)


def _rows() -> Select[Any]:
    rows = resources.rows(
        AwxJob, Release, InstallTask, Project.name.label("project_name"), STATUS.label("status"),
        FINISHED.label("finished"), _holder.label("holder"), InventoryId.id.label("inventory"),
        ProjectId.id.label("project"), UserId.id.label("user"),
    ).select_from(AwxJob)  # fmt: skip
    environment_id = func.coalesce(Release.environment_id, InstallTask.environment_id)
    created_by = func.coalesce(Release.created_by, InstallTask.created_by)
    return (
        joined(rows)
        .join(Project, Project.id == _project_id)
        .outerjoin(InventoryId, number_of(InventoryId, "inventory", environment_id))
        .outerjoin(ProjectId, number_of(ProjectId, "project", _project_id))
        .outerjoin(UserId, number_of(UserId, "user", created_by))
        .options(*_UNREAD)
    )


def launched(row: Any) -> Release | InstallTask:
    """Return what a job is."""
    found: Release | InstallTask = row.Release or row.InstallTask
    return found


def _show(row: Any) -> dict[str, Any]:
    job, it = row.AwxJob, launched(row)
    here = f"{PREFIX}/jobs/{job.id}"
    shown = resources.document(
        "job", "jobs", job.id, job.template_name, job.created_at, modified=row.finished or it.started_at,
        related={
            "job_events": f"{here}/job_events/",
            "stdout": f"{here}/stdout/",
            "cancel": f"{here}/cancel/",
            "relaunch": f"{here}/relaunch/",
            "job_template": f"{PREFIX}/job_templates/{job.template_id}/",
            "unified_job_template": f"{PREFIX}/job_templates/{job.template_id}/",
            **({"source_workflow_job": f"{PREFIX}/workflow_jobs/{job.bulk_id}/"} if job.bulk_id else {}),
        },
        summary={
            "job_template": summary(job.template_id, job.template_name),
            "unified_job_template": {
                **summary(job.template_id, job.template_name), "unified_job_type": "job",
            },
            "project": summary(row.project, row.project_name),
            "inventory": summary(row.inventory, f"{row.project_name} / {it.environment_name}"),
            "created_by": {"id": row.user, "username": it.created_by_name},
        },
    )  # fmt: skip
    return {**shown, **_state(row), **_asked(row)}


def _state(row: Any) -> dict[str, Any]:
    job, it = row.AwxJob, launched(row)
    has_ended = row.status in ENDED
    finished = row.finished if has_ended else None
    elapsed = seconds(it.started_at, finished or datetime.now(tz=it.created_at.tzinfo))
    return {
        "status": row.status,
        "failed": row.status in _NOT_WELL,
        "started": views.moment(it.started_at),
        "finished": views.moment(finished),
        "canceled_on": views.moment(finished) if row.status == "canceled" else None,
        "elapsed": elapsed,
        "job_explanation": _explanation(row),
        "launch_type": job.launch_type,
        "launched_by": {
            "id": row.user,
            "name": it.created_by_name,
            "type": "user",
            "url": f"{PREFIX}/users/{row.user}/",
        },
        # What a worker printed is written before the release ends: nothing comes after that.
        "event_processing_finished": has_ended,
    }


def _asked(row: Any) -> dict[str, Any]:
    return {
        "job_type": "run",
        "job_template": row.AwxJob.template_id,
        "unified_job_template": row.AwxJob.template_id,
        "project": row.project,
        "inventory": row.inventory,
        **dict.fromkeys(resources.ALWAYS_EMPTY, ""),
        "result_traceback": "",
        "schedule": row.AwxJob.schedule_id,
        **kinds.of_job(row.AwxJob).shown(row),
    }


def seconds(started: datetime | None, finished: datetime) -> float:
    """Return how long something took; nothing for what never began."""
    return round(max((finished - started).total_seconds(), 0.0), 3) if started else 0.0


def _explanation(row: Any) -> str:
    job, it = row.AwxJob, launched(row)
    if job.explanation or row.status == "successful":
        return str(job.explanation)
    if it.status == "pending_approval":
        return (
            f"waits for approval: ticket {it.ticket_id}, to be decided at "
            f"/api/v1/approvals/inbox/{it.ticket_id} or with `tidegate approval approve {it.ticket_id}`"
        )
    if it.status == "waiting_lock":
        return f"waits for what {row.holder or 'another job'} holds"
    if it.status == "rejected":
        return f"the approval was rejected: ticket {it.ticket_id}"
    own = kinds.of_job(job).explanation(row)
    if own is not None or row.status not in ENDED:
        return own or ""
    diagnostics = it.diagnostics or {}
    return ": ".join(str(diagnostics[key]) for key in ("error_key", "summary") if diagnostics.get(key))


JOBS = Resource(
    path="jobs", type="job", about="Jobs: releases and installs that were launched from a job template.",
    permissions=kinds.READ, pk=AwxJob.id,
    columns=resources.columns(
        AwxJob.id, AwxJob.template_name, AwxJob.created_at,
        status=Column(STATUS, "choice", "How it stands.", STATUSES),
        started=Column(STARTED, "datetime", "When it began to change something."),
        finished=Column(FINISHED, "datetime", "When it ended."),
        launch_type=Column(AwxJob.launch_type, "choice", "Who or what launched it.",
                           ("manual", "relaunch", "scheduled", "webhook")),
        job_template=Column(AwxJob.template_id, "id", "The template of it."),
        unified_job_template=Column(AwxJob.template_id, "id", "The template of it."),
        unified_job_node__workflow_job=Column(AwxJob.bulk_id, "id", "The launch of several that it is one of."),
        schedule=Column(AwxJob.schedule_id, "id", "The schedule that launched it."),
        scm_branch=Column(Release.service_version, "string", "The version that it releases."),
        job_template__name=Column(AwxJob.template_name, help_text="The name of the template."),
        unified_job_template__name=Column(AwxJob.template_name, help_text="The name of the template."),
        created_by__username=Column(_created_by_name, help_text="The name of who launched it."),
        created_by=Column(UserId.id, "id", "Who launched it."),
        failed=Column(STATUS.in_(_NOT_WELL), "boolean", "Whether it ended, and not well."),
        project=Column(ProjectId.id, "id", "The project of it."),
        inventory=Column(InventoryId.id, "id", "The environment that it changes."),
    ),
    select=_select, show=_show, kinds=ids.KINDS,
    fields={
        **resources.COMMON,
        "canceled_on": ("datetime", "When it ended, where it was cancelled."),
        "elapsed": ("decimal", "Seconds since it started."),
        "job_explanation": ("string", "What it waits for, or why it ended as it did."),
        "launched_by": ("object", "Who launched it."),
        "event_processing_finished": ("boolean", "Whether nothing will be printed any more."),
        "job_type": ("string", "Always run."),
        **dict.fromkeys(resources.ALWAYS_EMPTY, ("string", "Always empty: it goes to all that it is for.")),
        "result_traceback": ("string", "Always empty."),
        "extra_vars": ("json", "The values that it was launched with; secret ones are not shown."),
        "artifacts": ("json", "The release or the install that it is."),
    },
)  # fmt: skip
UNIFIED_JOBS = replace(
    JOBS,
    path="unified_jobs",
    about="Unified jobs: all of them are jobs here, which are launched releases and installs.",
    detail_methods=(),
)


def of_template(actor: Actor, template_id: int) -> Select[Any]:
    """Return the jobs of a template."""
    return _select(actor).where(AwxJob.template_id == template_id)


def row(core: Core, actor: Actor, pk: str) -> Any:
    """Return a job's row. Raises Problem `not_found`."""
    with core.database.read() as session:
        return resource.row(session, actor, JOBS, pk)


def shown(core: Core, number: int) -> dict[str, Any]:
    """Return a job to who just launched it, with the numbers of what it names."""
    document = _document(core, number)
    named = (document["launched_by"]["id"], document["inventory"], document["project"])
    if None not in named:
        return document
    # The first launch of a user, or by a client that never listed anything.
    ids.number(core, ids.KINDS)
    return _document(core, number)


def _document(core: Core, number: int) -> dict[str, Any]:
    with core.database.read() as session:
        return _show(session.execute(_rows().where(AwxJob.id == number)).one())


def can_cancel(found: Any) -> bool:
    """Say whether there is something to be cancelled yet."""
    return found.status not in ENDED


def cancel(core: Core, actor: Actor, pk: str) -> None:
    """Take a job back: at once before it started, else its worker ends it.

    Raises:
        Problem: `not_found`, `permission_denied`, `release_state_invalid`; `conflict` of an install that ends just now.
    """
    found = row(core, actor, pk)
    about = kinds.of_job(found.AwxJob)
    about.require_cancel(core, actor, found)
    now = core.clock.now()
    with core.database.write() as session:
        # Whoever comes first, this or the scheduler that asks to apply it: the other finds it done.
        kept = session.execute(
            update(AwxJob)
            .where(AwxJob.id == found.AwxJob.id, AwxJob.asking == "wanted")
            .values(asking="canceled", ended_at=now, explanation="canceled before it was applied")
        )
    if kept.rowcount:  # type: ignore[attr-defined]
        about.drop(core, actor, found)
        return
    if not can_cancel(row(core, actor, pk)):
        raise Problem("release_state_invalid", f"the job has ended: {found.status}")
    about.cancel(core, actor, found)


def relaunch(core: Core, actor: Actor, pk: str, key: str | None) -> int:
    """Launch the same again, with a preview and a gate of its own. Returns the number of the new job.

    Raises:
        Problem: `not_found` (also where the template is gone), `permission_denied`, `validation_error`.
    """
    found = row(core, actor, pk)
    template = templates.load(core, actor, str(found.AwxJob.template_id))
    again = kinds.of_job(found.AwxJob).again(core, found)
    return launching.launch(core, actor, template, again, Origin("relaunch", request_key=key))
