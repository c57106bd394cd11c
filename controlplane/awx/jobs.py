# SPDX-License-Identifier: Apache-2.0
"""Jobs: releases that were launched through this door, in AWX's words."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Select, case, func, select, update
from sqlalchemy.orm import aliased

from controlplane.awx import ids, launching, resource, resources, templates
from controlplane.awx.launching import Asked, Origin
from controlplane.awx.resource import Column, Resource
from controlplane.awx.resources import PREFIX, InventoryId, ProjectId, number_of, summary
from controlplane.domain.errors import Problem
from controlplane.domain.permission import Actor, Permission, runtime_permission
from controlplane.domain.release import State
from controlplane.services import access, releases, views
from controlplane.services.core import Core
from controlplane.store.tables import AwxId, AwxJob, Job, Project, Release

STATUSES = ("pending", "waiting", "running", "successful", "failed", "error", "canceled")
ENDED = ("successful", "failed", "error", "canceled")
_MASK = "$encrypted$"
UserId = aliased(AwxId)
_domain = Release.diagnostics["failure_domain"].as_string()
_has_failed = Release.state == State.FAILED
# Whoever applied its preview through another door after all: then it is what the release is.
_was_never_applied = Release.state.in_((State.PREVIEW, State.EXPIRED))

# The one place where a release's state becomes a job's status.
STATUS = case(
    ((AwxJob.asking == "canceled") & _was_never_applied, "canceled"),
    ((AwxJob.asking == "refused") & _was_never_applied, "failed"),
    (Release.state.in_((State.APPLIED, State.ROLLBACK, "succeeded", "rolled_back")), "successful"),
    (Release.state == State.CANCELLED, "canceled"),
    (_has_failed & (_domain == "cancelled"), "canceled"),
    (_has_failed & _domain.in_(("internal", "lost")), "error"),
    (Release.state.in_((State.FAILED, State.REJECTED, State.EXPIRED)), "failed"),
    (Release.state == State.APPLYING, "running"),
    (Release.status == "waiting_lock", "pending"),
    (Release.state == State.APPROVED, "waiting"),
    else_="pending",
)
# A release that is rolled back later was finished before; one that was never applied ended when it was refused.
FINISHED = func.coalesce(AwxJob.ended_at, Release.finished_at)
_holder = (
    select(Job.waiting_for)
    .where(Job.resource_id == Release.id, Job.kind == "apply", Job.state == "queued")
    .limit(1)
    .correlate(Release)
    .scalar_subquery()
)


def _select(actor: Actor) -> Select[Any]:
    rows = (
        resources.rows(
            AwxJob, Release, Project.name.label("project_name"), STATUS.label("status"), FINISHED.label("finished"),
            _holder.label("holder"), InventoryId.id.label("inventory"), ProjectId.id.label("project"),
            UserId.id.label("user"),
        )
        .select_from(AwxJob)
        .join(Release, Release.id == AwxJob.release_id)
        .join(Project, Project.id == Release.project_id)
        .outerjoin(InventoryId, number_of(InventoryId, "inventory", Release.environment_id))
        .outerjoin(ProjectId, number_of(ProjectId, "project", Release.project_id))
        .outerjoin(UserId, number_of(UserId, "user", Release.created_by))
    )  # fmt: skip
    return access.visible(rows, actor, Permission.RELEASE_READ, Release.project_id)


def _show(row: Any) -> dict[str, Any]:
    job, release = row.AwxJob, row.Release
    here = f"{PREFIX}/jobs/{job.id}"
    shown = resources.document(
        "job", "jobs", job.id, job.template_name, job.created_at, modified=row.finished or release.started_at,
        related={
            "job_events": f"{here}/job_events/",
            "stdout": f"{here}/stdout/",
            "cancel": f"{here}/cancel/",
            "relaunch": f"{here}/relaunch/",
            "job_template": f"{PREFIX}/job_templates/{job.template_id}/",
            "unified_job_template": f"{PREFIX}/job_templates/{job.template_id}/",
        },
        summary={
            "job_template": summary(job.template_id, job.template_name),
            "unified_job_template": {
                **summary(job.template_id, job.template_name), "unified_job_type": "job",
            },
            "project": summary(row.project, row.project_name),
            "inventory": summary(row.inventory, f"{row.project_name} / {release.environment_name}"),
            "created_by": {"id": row.user, "username": release.created_by_name},
        },
    )  # fmt: skip
    return {**shown, **_state(row), **_asked(row)}


def _state(row: Any) -> dict[str, Any]:
    job, release = row.AwxJob, row.Release
    has_ended = row.status in ENDED
    finished = row.finished if has_ended else None
    elapsed = _seconds(release.started_at, finished or datetime.now(tz=release.created_at.tzinfo))
    return {
        "status": row.status,
        "failed": row.status in ("failed", "error", "canceled"),
        "started": views.moment(release.started_at),
        "finished": views.moment(finished),
        "canceled_on": views.moment(finished) if row.status == "canceled" else None,
        "elapsed": elapsed,
        "job_explanation": _explanation(row),
        "launch_type": job.launch_type,
        "launched_by": {
            "id": row.user,
            "name": release.created_by_name,
            "type": "user",
            "url": f"{PREFIX}/users/{row.user}/",
        },
        # What a worker printed is written before the release ends: nothing comes after that.
        "event_processing_finished": has_ended,
        "artifacts": _artifacts(release),
    }


def _asked(row: Any) -> dict[str, Any]:
    release = row.Release
    return {
        "job_type": "run",
        "job_template": row.AwxJob.template_id,
        "unified_job_template": row.AwxJob.template_id,
        "project": row.project,
        "inventory": row.inventory,
        "scm_branch": release.service_version,
        "extra_vars": json.dumps({name: _masked(value) for name, value in release.variables.items()}),
        "limit": "",
        "job_tags": "",
        "skip_tags": "",
        "result_traceback": "",
        "schedule": row.AwxJob.schedule_id,
    }


def _masked(value: Any) -> Any:
    return _MASK if isinstance(value, str) and value.startswith("hmac:") else value


def _artifacts(release: Release) -> dict[str, Any]:
    return {
        "tidegate": {
            "release_id": release.id,
            "lifecycle_state": release.state,
            "preview_digest": release.preview_digest,
            "approval_ticket": release.ticket_id,
        }
    }


def _seconds(started: datetime | None, finished: datetime) -> float:
    return round(max((finished - started).total_seconds(), 0.0), 3) if started else 0.0


def _explanation(row: Any) -> str:
    job, release = row.AwxJob, row.Release
    diagnostics = release.diagnostics or {}
    if job.explanation or row.status == "successful":
        return str(job.explanation)
    if release.state == State.PREVIEW:
        return "waits for its preview"
    if release.state == State.PENDING_APPROVAL:
        return (
            f"waits for approval: ticket {release.ticket_id}, to be decided at "
            f"/api/v1/approvals/inbox/{release.ticket_id} or with `tidegate approval approve {release.ticket_id}`"
        )
    if release.status == "waiting_lock":
        return f"waits for what {row.holder or 'another job'} holds"
    if release.status == "paused":
        return "is paused: promote or abort the release to go on"
    if release.state == State.REJECTED:
        return f"the approval was rejected: ticket {release.ticket_id}"
    if release.state == State.EXPIRED:
        why = diagnostics.get("summary") or "nobody decided in time, or the target moved since the preview"
        return f"expired: {why}"
    if row.status in ENDED:
        return ": ".join(str(diagnostics[key]) for key in ("error_key", "summary") if diagnostics.get(key))
    return ""


JOBS = Resource(
    path="jobs", type="job", about="Jobs: releases that were launched from a job template.",
    permission=Permission.RELEASE_READ, pk=AwxJob.id,
    columns=resources.columns(
        AwxJob.id, AwxJob.template_name, AwxJob.created_at,
        status=Column(STATUS, "choice", "How it stands.", STATUSES),
        started=Column(Release.started_at, "datetime", "When it began to change something."),
        finished=Column(FINISHED, "datetime", "When it ended."),
        launch_type=Column(AwxJob.launch_type, "choice", "Who or what launched it.",
                           ("manual", "relaunch", "scheduled", "webhook")),
        job_template=Column(AwxJob.template_id, "id", "The template of it."),
        unified_job_template=Column(AwxJob.template_id, "id", "The template of it."),
        schedule=Column(AwxJob.schedule_id, "id", "The schedule that launched it."),
        scm_branch=Column(Release.service_version, "string", "The version that it releases."),
        job_template__name=Column(AwxJob.template_name),
        unified_job_template__name=Column(AwxJob.template_name),
        created_by__username=Column(Release.created_by_name),
        created_by=Column(UserId.id, "id", "Who launched it."),
    ),
    select=_select, show=_show, kinds=ids.KINDS,
    fields={
        **resources.COMMON,
        "job_explanation": ("string", "What it waits for, or why it ended as it did."),
        "elapsed": ("decimal", "Seconds since it started."),
        "extra_vars": ("json", "The values of the service's variables; secret ones are not shown."),
        "artifacts": ("json", "The release that it is."),
    },
)  # fmt: skip
UNIFIED_JOBS = replace(
    JOBS, path="unified_jobs", about="Unified jobs: all of them are jobs here, which are launched releases."
)


def of_template(actor: Actor, template_id: int) -> Select[Any]:
    """Return the jobs of a template."""
    return _select(actor).where(AwxJob.template_id == template_id)


def row(core: Core, actor: Actor, pk: str) -> Any:
    """Return a job's row. Raises Problem `not_found`."""
    with core.database.read() as session:
        return resource.row(session, actor, JOBS, pk)


def shown(core: Core, actor: Actor, number: int) -> dict[str, Any]:
    """Return a job that was just launched, with the numbers of what it names."""
    document = resource.one(core, actor, JOBS, str(number))
    named = (document["launched_by"]["id"], document["inventory"], document["project"])
    if None not in named:
        return document
    # The first launch of a user, or by a client that never listed anything.
    ids.number(core, ids.KINDS)
    return resource.one(core, actor, JOBS, str(number))


def can_cancel(found: Any) -> bool:
    """Say whether there is something to be cancelled yet."""
    return found.status not in ENDED


def cancel(core: Core, actor: Actor, pk: str) -> None:
    """Take a job back: at once before it started, else its worker ends it.

    Raises:
        Problem: `not_found`, `permission_denied`, `release_state_invalid`.
    """
    found = row(core, actor, pk)
    with core.database.read() as session:
        project = session.get_one(Project, found.Release.project_id)
    for permission in (Permission.RELEASE_APPLY, runtime_permission(found.Release.runtime_type, "apply")):
        access.require(core, actor, permission, project, about=("release", found.Release.id))
    now = core.clock.now()
    with core.database.write() as session:
        # Whoever comes first, this or the scheduler that asks to apply it: the other finds it done.
        kept = session.execute(
            update(AwxJob)
            .where(AwxJob.id == found.AwxJob.id, AwxJob.asking == "wanted")
            .values(asking="canceled", ended_at=now, explanation="canceled before it was applied")
        )
        if kept.rowcount:  # type: ignore[attr-defined]
            return
    if not can_cancel(row(core, actor, pk)):
        raise Problem("release_state_invalid", f"the job has ended: {found.status}")
    releases.cancel(core, actor, found.Release.id)


def relaunch(core: Core, actor: Actor, pk: str, key: str | None) -> int:
    """Launch the same again, with a preview and a gate of its own. Returns the number of the new job.

    Raises:
        Problem: `not_found` (also where the template is gone), `permission_denied`, `validation_error`.
    """
    found = row(core, actor, pk)
    release = found.Release
    template = templates.load(core, actor, str(found.AwxJob.template_id))
    inputs = json.loads(core.vault.decrypt(release.inputs_cipher)) if release.inputs_cipher else {}
    asked = inputs.get("requested", {})
    again = Asked(
        asked.get("variables") or {}, release.service_version, release.strategy, release.strategy_params
    )
    return launching.launch(core, actor, template, again, Origin("relaunch", request_key=key))
