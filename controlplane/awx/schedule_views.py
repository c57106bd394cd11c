# SPDX-License-Identifier: Apache-2.0
"""`/api/v2/schedules/`: made, changed and deleted by whoever could launch what they launch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response
from sqlalchemy import delete, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from controlplane.api.auth import current_actor, current_core
from controlplane.awx import ids, jobs, kinds, launching, query, recurrence, resource, templates
from controlplane.awx.about import Asked, Template
from controlplane.awx.answer import body, json_answer
from controlplane.awx.schedules import FIELDS, SCHEDULES
from controlplane.domain.errors import Problem
from controlplane.domain.permission import Actor
from controlplane.services import access, record
from controlplane.services.core import Core
from controlplane.store.tables import AwxJob, AwxSchedule, Project


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
    narrowed = SCHEDULES.select(actor).where(AwxSchedule.template_id == template.id)
    return json_answer(query.page(core, actor, SCHEDULES, narrowed))


def jobs_view(pk: str) -> Response:
    """List the jobs that a schedule launched."""
    core, actor = current_core(), current_actor()
    with core.database.read() as session:
        schedule = resource.row(session, actor, SCHEDULES, pk).AwxSchedule
    narrowed = jobs.JOBS.select(actor).where(AwxJob.schedule_id == schedule.id)
    return json_answer(query.page(core, actor, jobs.JOBS, narrowed))


def update_view(pk: str) -> Response:
    """Change a schedule; from then on it launches as who changed it."""
    core, actor = current_core(), current_actor()
    with core.database.read() as session:
        before = resource.row(session, actor, SCHEDULES, pk).AwxSchedule
    kept = {name: getattr(before, name) for name in FIELDS if name != "unified_job_template"}
    sent = body()
    if str(sent.get("unified_job_template", before.template_id)) != str(before.template_id):
        raise Problem(
            "validation_error", errors={"unified_job_template": ["cannot be changed; make another"]}
        )
    values = _values(core, actor, str(before.template_id), {**kept, **sent})
    with core.database.write() as session:
        _flush(session, update(AwxSchedule).where(AwxSchedule.id == before.id).values(**values))
        _tell(core, session, actor, "updated", before.id, values)
    return json_answer(resource.one(core, actor, SCHEDULES, pk))


def delete_view(pk: str) -> Response:
    """Delete a schedule. Its jobs stay."""
    core, actor = current_core(), current_actor()
    with core.database.read() as session:
        schedule = resource.row(session, actor, SCHEDULES, pk).AwxSchedule
        project = session.get_one(Project, schedule.project_id)
        permission = kinds.of_uid(ids.uid_of(session, "job_template", schedule.template_id)).permission
    access.require(core, actor, permission, project, about=("schedule", str(schedule.id)))
    with core.database.write() as session:
        session.execute(delete(AwxSchedule).where(AwxSchedule.id == schedule.id))
        named = {
            "project_id": schedule.project_id,
            "name": schedule.name,
            "template_name": schedule.template_name,
        }
        _tell(core, session, actor, "deleted", schedule.id, named)
    return Response(status=204)


def _create(template_pk: str, sent: Mapping[str, Any]) -> Response:
    core, actor = current_core(), current_actor()
    ids.number(core, SCHEDULES.kinds)
    values = _values(core, actor, template_pk, sent)
    row = AwxSchedule(**values, created_at=values["modified_at"])
    with core.database.write() as session:
        session.add(row)
        _flush(session)
        _tell(core, session, actor, "created", row.id, values)
    shown = resource.one(core, actor, SCHEDULES, str(row.id))
    return json_answer(shown, 201, {"Location": shown["url"]})


def _tell(
    core: Core, session: Session, actor: Actor, verb: str, number: int, values: Mapping[str, Any]
) -> None:
    project = session.get_one(Project, values["project_id"])
    about = ("awx_schedule", str(number))
    named = {"name": values["name"], "template": values["template_name"]}
    record.tell(core, session, actor, f"resource.{verb}", about, project, **named)


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
    kinds.of_template(template).check(core, actor, template, asked)
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
    with core.database.read() as session:
        secret = kinds.of_template(template).secrets(session, template)
    found = sorted(secret & set(asked.variables))
    if found:
        said = [f"'{name}' may be secret: a schedule is shown as it was made" for name in found]
        raise Problem("validation_error", errors={"extra_data": said})
