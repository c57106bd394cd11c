# SPDX-License-Identifier: Apache-2.0
"""Schedules: launch a template by a recurrence rule, as whoever set it last, through the same gate as by hand."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Select, select, update
from sqlalchemy.orm import aliased

from controlplane.awx import ids, kinds, launching, resources, templates
from controlplane.awx.about import Asked
from controlplane.awx.launching import SOURCE, Origin
from controlplane.awx.resource import Column, Resource, field
from controlplane.awx.resources import PREFIX, number_of, summary
from controlplane.domain.errors import Problem
from controlplane.domain.identifier import new_id
from controlplane.domain.permission import Actor
from controlplane.services import access, views
from controlplane.services.core import Core
from controlplane.store.tables import AwxId, AwxSchedule, User

log = logging.getLogger(__name__)
BATCH = 50
SetterId, LaunchedId = aliased(AwxId), aliased(AwxId)
FIELDS: Mapping[str, Mapping[str, Any]] = {
    "name": field("string", "Its name; one of its kind at a template.", required=True),
    "description": field("string", "What it is for."),
    "unified_job_template": field("id", "The job template that it launches.", required=True),
    "rrule": field("string", "DTSTART:20300115T120000Z RRULE:FREQ=DAILY;INTERVAL=1", required=True),
    "extra_data": field("json", "Values of the service's variables; no secret ones."),
    "scm_branch": field(
        "string", "The version of the service; the newest at that time where it is left out."
    ),
    "enabled": field("boolean", "Whether it launches anything.", default=True),
}


def _select(actor: Actor) -> Select[Any]:
    rows = (
        resources.rows(AwxSchedule, SetterId.id.label("setter"), User.name.label("setter_name"))
        .outerjoin(SetterId, number_of(SetterId, "user", AwxSchedule.user_id))
        .outerjoin(User, User.id == AwxSchedule.user_id)
        .join(LaunchedId, LaunchedId.id == AwxSchedule.template_id)
    )
    return rows.where(kinds.seen(actor, AwxSchedule.project_id, kinds.is_release(LaunchedId.uid)))


def _show(row: Any) -> dict[str, Any]:
    schedule = row.AwxSchedule
    template = summary(schedule.template_id, schedule.template_name)
    return resources.document(
        "schedule", "schedules", schedule.id, schedule.name, schedule.created_at, modified=schedule.modified_at,
        description=schedule.description,
        related={
            "unified_job_template": f"{PREFIX}/job_templates/{schedule.template_id}/",
            "jobs": f"{PREFIX}/schedules/{schedule.id}/jobs/",
        },
        summary={
            "unified_job_template": {**template, "unified_job_type": "job"},
            "modified_by": {"id": row.setter, "username": row.setter_name},
        },
        unified_job_template=schedule.template_id, rrule=schedule.rrule, extra_data=schedule.extra_data,
        scm_branch=schedule.scm_branch, enabled=schedule.enabled, next_run=views.moment(schedule.next_run),
        last_result=schedule.last_result,
    )  # fmt: skip


SCHEDULES = Resource(
    path="schedules", type="schedule", about="Schedules: launch a job template by a rule.",
    permissions=kinds.SEE, pk=AwxSchedule.id,
    columns=resources.columns(
        AwxSchedule.id, AwxSchedule.name, AwxSchedule.created_at,
        description=Column(AwxSchedule.description, help_text="What it is for."),
        enabled=Column(AwxSchedule.enabled, "boolean", "Whether it launches anything."),
        next_run=Column(AwxSchedule.next_run, "datetime", "When it launches next."),
        unified_job_template=Column(AwxSchedule.template_id, "id", "The job template that it launches."),
        unified_job_template__name=Column(AwxSchedule.template_name, help_text="The name of the template."),
    ),
    select=_select, show=_show, kinds=ids.KINDS, post=FIELDS, search=("name", "description"),
    fields={
        **resources.COMMON,
        "rrule": ("string", "When."),
        "extra_data": ("json", "With which values."),
        "scm_branch": ("string", "Which version; the newest at that time where it is empty."),
        "last_result": ("string", "What came of it last: which job, or why none."),
    },
    detail_methods=("GET", "PUT", "PATCH", "DELETE"),
)  # fmt: skip


def launch_due(core: Core) -> int:
    """Launch what is due; return for how many schedules that was tried. What was missed is made up for once."""
    now = core.clock.now()
    due = select(AwxSchedule).where(AwxSchedule.enabled.is_(True), AwxSchedule.next_run <= now).limit(BATCH)
    with core.database.read() as session:
        found = list(session.scalars(due))
    for schedule in found:
        if _take(core, schedule, now):
            _note(core, schedule, _launch(core, schedule, now))
    return len(found)


def _take(core: Core, schedule: AwxSchedule, now: datetime) -> bool:
    """Move a schedule on to its next time; False where another scheduler did."""
    # Loaded where there is a schedule: a worker without one need not carry it.
    from controlplane.awx import recurrence

    try:
        following = recurrence.read(schedule.rrule, schedule.created_at).after(now, schedule.anchor)
    except recurrence.NotTaken:
        log.exception("a schedule's rule is not understood any more", extra={"schedule": schedule.id})
        following = None
    with core.database.write() as session:
        taken = session.execute(
            update(AwxSchedule)
            .where(AwxSchedule.id == schedule.id, AwxSchedule.next_run == schedule.next_run)
            .values(next_run=following, anchor=following or schedule.anchor)
        )
        return bool(taken.rowcount)  # type: ignore[attr-defined]


def _launch(core: Core, schedule: AwxSchedule, now: datetime) -> str:
    with core.database.read() as session:
        actor = access.actor_behind(session, schedule.user_id, schedule.token_id, now)
    if actor is None:
        return "not launched: who set it is disabled, or the token revoked or expired"
    actor = replace(access.through(actor, SOURCE), request_id=new_id("req"))
    asked = Asked(schedule.extra_data, schedule.scm_branch or None)
    try:
        template = templates.load(core, actor, str(schedule.template_id))
        job_id = launching.launch(core, actor, template, asked, Origin("scheduled", schedule.id))
    except Problem as problem:
        return f"not launched: {problem.error_key}: {problem.detail}"
    return f"launched job {job_id}"


def _note(core: Core, schedule: AwxSchedule, result: str) -> None:
    with core.database.write() as session:
        session.execute(
            update(AwxSchedule).where(AwxSchedule.id == schedule.id).values(last_result=result[:2000])
        )
