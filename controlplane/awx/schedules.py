# SPDX-License-Identifier: Apache-2.0
"""Schedules: launch a template by a recurrence rule, as whoever set it last, through the same gate as by hand."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from flask import Response
from sqlalchemy import Select, delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import aliased

from controlplane.api.auth import current_actor, current_core
from controlplane.awx import ids, jobs, launching, query, recurrence, resources, templates
from controlplane.awx.answer import body, json_answer
from controlplane.awx.auth import SOURCE
from controlplane.awx.launching import Asked, Origin
from controlplane.awx.options import field
from controlplane.awx.query import Column, Resource
from controlplane.awx.resources import PREFIX, number_of, summary
from controlplane.awx.templates import Template
from controlplane.domain.errors import Problem
from controlplane.domain.identifier import new_id
from controlplane.domain.permission import Actor, Permission
from controlplane.services import access, previews, views
from controlplane.services.core import Core
from controlplane.store.tables import AwxId, AwxJob, AwxSchedule, Project, ServiceVersion, User

log = logging.getLogger(__name__)
BATCH = 50
SetterId = aliased(AwxId)
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
    )
    return access.visible(rows, actor, Permission.RELEASE_READ, AwxSchedule.project_id)


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
    permission=Permission.RELEASE_READ, pk=AwxSchedule.id,
    columns=resources.columns(
        AwxSchedule.id, AwxSchedule.name, AwxSchedule.created_at,
        description=Column(AwxSchedule.description),
        enabled=Column(AwxSchedule.enabled, "boolean", "Whether it launches anything."),
        next_run=Column(AwxSchedule.next_run, "datetime", "When it launches next."),
        unified_job_template=Column(AwxSchedule.template_id, "id", "The job template that it launches."),
        unified_job_template__name=Column(AwxSchedule.template_name),
    ),
    select=_select, show=_show, kinds=ids.KINDS, post=FIELDS, search=("name", "description"),
    fields={**resources.COMMON, "rrule": ("string", "When."), "extra_data": ("json", "With which values.")},
    detail_methods=("GET", "PUT", "PATCH", "DELETE"),
)  # fmt: skip


# --- what a client does with them ----------------------------------------------------------------------------


def create_view() -> Response:
    """Make a schedule of the template that the body names."""
    sent = body()
    named = sent.get("unified_job_template")
    if isinstance(named, bool) or not isinstance(named, int | str):
        raise Problem(
            "validation_error", errors={"unified_job_template": ["must be the id of a job template"]}
        )
    return _create(str(named), sent)


def create_for_template_view(pk: str) -> Response:
    """Make a schedule of a template."""
    return _create(pk, body())


def of_template_view(pk: str) -> Response:
    """List the schedules of a template."""
    core, actor = current_core(), current_actor()
    template = templates.load(core, actor, pk)
    narrowed = _select(actor).where(AwxSchedule.template_id == template.id)
    return json_answer(query.page(core, actor, SCHEDULES, narrowed))


def jobs_view(pk: str) -> Response:
    """List the jobs that a schedule launched."""
    core, actor = current_core(), current_actor()
    with core.database.read() as session:
        schedule = query.row(session, actor, SCHEDULES, pk).AwxSchedule
    narrowed = jobs.JOBS.select(actor).where(AwxJob.schedule_id == schedule.id)
    return json_answer(query.page(core, actor, jobs.JOBS, narrowed))


def update_view(pk: str) -> Response:
    """Change a schedule; from then on it launches as who changed it."""
    core, actor = current_core(), current_actor()
    with core.database.read() as session:
        before = query.row(session, actor, SCHEDULES, pk).AwxSchedule
    kept = {name: getattr(before, name) for name in FIELDS if name != "unified_job_template"}
    sent = body()
    if str(sent.get("unified_job_template", before.template_id)) != str(before.template_id):
        raise Problem(
            "validation_error", errors={"unified_job_template": ["cannot be changed; make another"]}
        )
    values = _values(core, actor, str(before.template_id), {**kept, **sent})
    with core.database.write() as session:
        _flush(session, update(AwxSchedule).where(AwxSchedule.id == before.id).values(**values))
    return json_answer(query.one(core, actor, SCHEDULES, pk))


def delete_view(pk: str) -> Response:
    """Delete a schedule. Its jobs stay."""
    core, actor = current_core(), current_actor()
    with core.database.read() as session:
        schedule = query.row(session, actor, SCHEDULES, pk).AwxSchedule
        project = session.get_one(Project, schedule.project_id)
    access.require(core, actor, Permission.RELEASE_APPLY, project, about=("schedule", str(schedule.id)))
    with core.database.write() as session:
        session.execute(delete(AwxSchedule).where(AwxSchedule.id == schedule.id))
    return Response(status=204)


def _create(template_pk: str, sent: Mapping[str, Any]) -> Response:
    core, actor = current_core(), current_actor()
    ids.number(core, SCHEDULES.kinds)
    values = _values(core, actor, template_pk, sent)
    row = AwxSchedule(**values, created_at=values["modified_at"])
    with core.database.write() as session:
        session.add(row)
        _flush(session)
    shown = query.one(core, actor, SCHEDULES, str(row.id))
    return json_answer(shown, 201, {"Location": shown["url"]})


def _flush(session: Any, statement: Any = None) -> None:
    try:
        if statement is not None:
            session.execute(statement)
        session.flush()
    except IntegrityError:
        taken = {"name": ["the template has a schedule of this name already"]}
        raise Problem("validation_error", errors=taken) from None


def _values(core: Core, actor: Actor, template_pk: str, sent: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns that a body asks for, once it was seen that who asks could launch that now."""
    unknown = sorted(set(sent) - set(FIELDS))
    errors: dict[str, list[str]] = {name[:80]: ["is no field of a schedule"] for name in unknown}
    texts = {name: sent.get(name) or "" for name in ("name", "description", "rrule", "scm_branch")}
    errors |= {name: ["must be a text"] for name, value in texts.items() if not isinstance(value, str)}
    if not errors and not 1 <= len(texts["name"]) <= 255:
        errors["name"] = ["must be 1 to 255 characters"]
    if not isinstance(sent.get("enabled", True), bool):
        errors["enabled"] = ["must be true or false"]
    if errors:
        raise Problem("validation_error", errors=errors)
    now = core.clock.now()
    try:
        following = recurrence.read(texts["rrule"], now).after(now)
    except recurrence.NotTaken as error:
        raise Problem("validation_error", errors={"rrule": [str(error)]}) from None
    template = templates.load(core, actor, template_pk)
    asked = launching.read(
        template, {"extra_vars": sent.get("extra_data"), "scm_branch": texts["scm_branch"] or None}
    )
    _refuse_secrets(core, template, asked)
    previews.check(core, actor, asked.preview(template))
    return {
        **texts,
        "template_id": template.id,
        "template_name": template.name,
        "project_id": template.project_id,
        "extra_data": dict(asked.variables),
        "enabled": sent.get("enabled", True),
        "anchor": following,
        "next_run": following,
        "user_id": actor.id,
        "token_id": actor.token_id,
        "modified_at": now,
    }


def _refuse_secrets(core: Core, template: Template, asked: Asked) -> None:
    """A schedule is shown as it was made, so nothing secret is kept in one."""
    query_of_schemas = select(ServiceVersion.variable_schema).where(
        ServiceVersion.service_id == template.service_id
    )
    with core.database.read() as session:
        schemas = list(session.scalars(query_of_schemas))
    secret = {name for schema in schemas for name, rule in schema.items() if rule.get("secret")}
    found = sorted(secret & set(asked.variables))
    if found:
        said = [f"'{name}' is secret: set it on the target or its environment" for name in found]
        raise Problem("validation_error", errors={"extra_data": said})


# --- what the scheduler does ---------------------------------------------------------------------------------


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
