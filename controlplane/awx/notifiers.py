# SPDX-License-Identifier: Apache-2.0
"""Notification templates: where a project's notifications go, and of which templates' jobs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from flask import Response
from sqlalchemy import ColumnElement, Select, and_, delete, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from controlplane.api.auth import current_actor, current_core
from controlplane.awx import ids, kinds, query, resource, resources, templates
from controlplane.awx.answer import body, json_answer
from controlplane.awx.resource import Column, Resource, field
from controlplane.awx.resources import PREFIX, ProjectId, number_of, summary
from controlplane.domain.errors import Problem
from controlplane.domain.permission import Actor, Permission
from controlplane.services import access, record, views
from controlplane.services.core import Core
from controlplane.store.tables import AwxJob, AwxNotification, AwxNotifier, AwxNotifierLink, Project

KINDS = ("webhook", "slack", "email")
EVENTS = ("started", "success", "error")
_MASK = "$encrypted$"
_MAIL = re.compile(r"[^\s@<>,;\"]{1,64}@[A-Za-z0-9.\-]{1,190}")
FIELDS: Mapping[str, Mapping[str, Any]] = {
    "name": field("string", "Its name; one of its kind in a project.", required=True),
    "description": field("string", "What it is for."),
    "project": field("id", "The project whose jobs it tells of.", required=True),
    "notification_type": field(
        "choice", "How it is sent.", required=True, choices=[[kind, kind.capitalize()] for kind in KINDS]
    ),
    "notification_configuration": field(
        "json",
        "webhook: {url, secret}; slack: {url}; email: {host, port, sender, recipients, username, password, use_tls}.",
        required=True,
    ),
}
LINK_FIELDS: Mapping[str, Mapping[str, Any]] = {
    "id": field("id", "The notification template.", required=True),
    "associate": field("boolean", "Tell of its jobs there.", default=True),
    "disassociate": field("boolean", "Tell of its jobs there no longer."),
}


def _select(actor: Actor) -> Select[Any]:
    rows = (
        resources.rows(AwxNotifier, Project.name.label("project_name"), ProjectId.id.label("project"))
        .join(Project, Project.id == AwxNotifier.project_id)
        .outerjoin(ProjectId, number_of(ProjectId, "project", AwxNotifier.project_id))
    )
    return rows.where(_either(actor))


def _either(actor: Actor) -> ColumnElement[bool]:
    """Return the condition that narrows to projects whose jobs of some kind the actor may read."""
    return or_(*(resources.within(actor, AwxNotifier.project_id, each) for each in kinds.READ))


def _show(row: Any) -> dict[str, Any]:
    notifier = row.AwxNotifier
    here = f"{PREFIX}/notification_templates/{notifier.id}"
    return resources.document(
        "notification_template", "notification_templates", notifier.id, notifier.name, notifier.created_at,
        modified=notifier.modified_at, description=notifier.description,
        related={"notifications": f"{here}/notifications/", "test": f"{here}/test/"},
        summary={"project": summary(row.project, row.project_name)},
        project=row.project, notification_type=notifier.kind, notification_configuration=notifier.configuration,
    )  # fmt: skip


NOTIFIERS = Resource(
    path="notification_templates", type="notification_template",
    about="Notification templates: where a project's notifications go.",
    permissions=kinds.READ, pk=AwxNotifier.id,
    columns=resources.columns(
        AwxNotifier.id, AwxNotifier.name, AwxNotifier.created_at,
        description=Column(AwxNotifier.description, help_text="What it is for."),
        notification_type=Column(AwxNotifier.kind, "choice", "How it is sent.", KINDS),
        project=Column(ProjectId.id, "id", "The project whose jobs it tells of."),
    ),
    select=_select, show=_show, kinds=("project",), post=FIELDS, search=("name", "description"),
    fields={**resources.COMMON, "notification_configuration": ("json", "Where to; nothing secret of it is shown.")},
    detail_methods=("GET", "PUT", "PATCH", "DELETE"),
)  # fmt: skip


def _notifications(actor: Actor) -> Select[Any]:
    rows = (
        resources.rows(AwxNotification, AwxNotifier)
        .join(AwxNotifier, AwxNotifier.id == AwxNotification.notifier_id)
        .outerjoin(AwxJob, AwxJob.id == AwxNotification.awx_job_id)
    )
    # What is told of a job is told to who may read that job; a test is of none.
    released, installed = (resources.within(actor, AwxNotifier.project_id, each) for each in kinds.READ)
    return rows.where(
        or_(
            and_(AwxNotification.awx_job_id.is_(None), _either(actor)),
            and_(AwxJob.release_id.is_not(None), released),
            and_(AwxJob.task_id.is_not(None), installed),
        )
    )


def _show_notification(row: Any) -> dict[str, Any]:
    told = row.AwxNotification
    shown = resources.document(
        "notification", "notifications", told.id, "", told.created_at, modified=told.ended_at,
        related={"notification_template": f"{PREFIX}/notification_templates/{told.notifier_id}/"},
        summary={"notification_template": summary(told.notifier_id, row.AwxNotifier.name)},
        notification_template=told.notifier_id, notification_type=row.AwxNotifier.kind, status=told.status,
        error=told.error, attempts=told.attempts, event=told.event, job=told.awx_job_id,
        body=told.payload, next_attempt=views.moment(told.due_at) if told.status == "pending" else None,
    )  # fmt: skip
    del shown["name"], shown["description"]
    return shown


NOTIFICATIONS = Resource(
    path="notifications", type="notification", about="Notifications: the log of what was delivered, and what was not.",
    permissions=kinds.READ, pk=AwxNotification.id,
    columns={
        "id": Column(AwxNotification.id, "integer", "Its number."),
        "created": Column(AwxNotification.created_at, "datetime", "When it came about."),
        "status": Column(AwxNotification.status, "choice", "How it went.", ("pending", "successful", "failed")),
        "notification_template": Column(AwxNotification.notifier_id, "id", "Where it goes."),
        "event": Column(AwxNotification.event, "string", "What it tells of."),
        "error": Column(AwxNotification.error, "string", "Why it was not delivered."),
        "job": Column(AwxNotification.awx_job_id, "id", "The job that it tells of."),
    },
    select=_notifications, show=_show_notification, search=("error",),
    fields={
        **resources.OF_EVERY,
        "notification_type": ("string", "How it is sent."),
        "attempts": ("integer", "How often that was tried."),
        "body": ("json", "What is told."),
        "next_attempt": ("datetime", "When it is tried next."),
    },
)  # fmt: skip


# --- what a client does with them ----------------------------------------------------------------------------


def create_view() -> Response:
    """Make a notification template."""
    core, actor, sent = current_core(), current_actor(), body()
    ids.number(core, ("project",))
    project = _project(core, actor, sent.get("project"))
    now = core.clock.now()
    row = AwxNotifier(project_id=project.id, created_at=now, modified_at=now, **_values(core, sent, None))
    with core.database.write() as session:
        session.add(row)
        _flush(session)
        _tell(core, session, actor, "created", row)
    shown = resource.one(core, actor, NOTIFIERS, str(row.id))
    return json_answer(shown, 201, {"Location": shown["url"]})


def update_view(pk: str) -> Response:
    """Change a notification template; a secret that is left out, or sent as it is shown, stays."""
    core, actor, sent = current_core(), current_actor(), body()
    found = _writable(core, actor, pk)
    if sent.pop("project", found.project) not in (found.project, str(found.project)):
        raise Problem("validation_error", errors={"project": ["cannot be changed; make another"]})
    before = found.AwxNotifier
    kept = {
        "name": before.name, "description": before.description, "notification_type": before.kind,
        "notification_configuration": before.configuration,
    }  # fmt: skip
    values = {**_values(core, {**kept, **sent}, before), "modified_at": core.clock.now()}
    with core.database.write() as session:
        _flush(session, update(AwxNotifier).where(AwxNotifier.id == before.id).values(**values))
        _tell(core, session, actor, "updated", before)
    return json_answer(resource.one(core, actor, NOTIFIERS, pk))


def delete_view(pk: str) -> Response:
    """Delete a notification template, with the log of its deliveries."""
    core, actor = current_core(), current_actor()
    notifier = _writable(core, actor, pk).AwxNotifier
    with core.database.write() as session:
        for table in (AwxNotification, AwxNotifierLink):
            session.execute(delete(table).where(table.notifier_id == notifier.id))
        session.execute(delete(AwxNotifier).where(AwxNotifier.id == notifier.id))
        _tell(core, session, actor, "deleted", notifier)
    return Response(status=204)


def test_view(pk: str) -> Response:
    """Send a test: it is delivered like any other, and its log says how that went."""
    core, actor = current_core(), current_actor()
    found = _writable(core, actor, pk)
    now = core.clock.now()
    payload = {
        "event": "test",
        "name": found.AwxNotifier.name,
        "text": "Tidegate: a test of this notification",
    }
    row = AwxNotification(
        notifier_id=found.AwxNotifier.id, event="test", payload=payload, due_at=now, created_at=now, attempts=0,
        status="pending", error="",
    )  # fmt: skip
    with core.database.write() as session:
        session.add(row)
        session.flush()
        number = row.id
    return json_answer({"notification": number}, 202)


def notifications_view(pk: str) -> Response:
    """List what went, or was to go, to one."""
    core, actor = current_core(), current_actor()
    with core.database.read() as session:
        number = resource.row(session, actor, NOTIFIERS, pk).AwxNotifier.id
    narrowed = _notifications(actor).where(AwxNotification.notifier_id == number)
    return json_answer(query.page(core, actor, NOTIFICATIONS, narrowed))


def linked_view(pk: str, event: str) -> Response:
    """List what is told of a template's jobs at an event."""
    core, actor = current_core(), current_actor()
    template = templates.load(core, actor, pk)
    linked = select(AwxNotifierLink.notifier_id).where(
        AwxNotifierLink.template_uid == template.uid, AwxNotifierLink.event == event
    )
    narrowed = _select(actor).where(AwxNotifier.id.in_(linked))
    return json_answer(query.page(core, actor, NOTIFIERS, narrowed))


def link_view(pk: str, event: str) -> Response:
    """Tell of a template's jobs there at an event, or no longer: `{id, associate}` or `{id, disassociate}`."""
    core, actor, sent = current_core(), current_actor(), body()
    template = templates.load(core, actor, pk)
    found = _writable(core, actor, str(sent.get("id", "")))
    if found.AwxNotifier.project_id != template.project_id:
        raise Problem("validation_error", errors={"id": ["is of another project"]})
    link = AwxNotifierLink(template_uid=template.uid, notifier_id=found.AwxNotifier.id, event=event)
    with core.database.write() as session:
        if sent.get("disassociate"):
            session.execute(
                delete(AwxNotifierLink).where(
                    AwxNotifierLink.template_uid == template.uid, AwxNotifierLink.event == event,
                    AwxNotifierLink.notifier_id == link.notifier_id,
                )
            )  # fmt: skip
        else:
            session.merge(link)
    return Response(status=204)


def _tell(core: Core, session: Session, actor: Actor, verb: str, notifier: AwxNotifier) -> None:
    project = session.get_one(Project, notifier.project_id)
    about = ("awx_notifier", str(notifier.id))
    record.tell(
        core, session, actor, f"resource.{verb}", about, project, name=notifier.name, kind=notifier.kind
    )


def _writable(core: Core, actor: Actor, pk: str) -> Any:
    with core.database.read() as session:
        found = resource.row(session, actor, NOTIFIERS, pk)
        project = session.get_one(Project, found.AwxNotifier.project_id)
    access.require(core, actor, Permission.TARGET_WRITE, project, about=("project", project.id))
    return found


def _project(core: Core, actor: Actor, number: Any) -> Project:
    if isinstance(number, bool) or not isinstance(number, int | str) or not str(number).isdigit():
        raise Problem("validation_error", errors={"project": ["must be the id of a project"]})
    with core.database.read() as session:
        project: Project = resource.row(session, actor, resources.PROJECTS, str(number)).Project
    access.require(core, actor, Permission.TARGET_WRITE, project, about=("project", project.id))
    return project


def _flush(session: Any, statement: Any = None) -> None:
    try:
        if statement is not None:
            session.execute(statement)
        session.flush()
    except IntegrityError:
        raise Problem(
            "validation_error", errors={"name": ["the project has one of this name already"]}
        ) from None


def _values(core: Core, sent: Mapping[str, Any], before: AwxNotifier | None) -> dict[str, Any]:
    errors: dict[str, list[str]] = {
        name[:80]: ["is no field of a notification template"] for name in set(sent) - set(FIELDS)
    }
    name, kind = sent.get("name"), sent.get("notification_type")
    if not isinstance(name, str) or not 1 <= len(name) <= 255:
        errors["name"] = ["must be 1 to 255 characters"]
    if not isinstance(sent.get("description") or "", str):
        errors["description"] = ["must be a text"]
    configuration = sent.get("notification_configuration")
    if kind not in KINDS:
        errors["notification_type"] = [f"must be one of {', '.join(KINDS)}"]
    elif not isinstance(configuration, dict):
        errors["notification_configuration"] = ["must be a mapping"]
    if errors:
        raise Problem("validation_error", errors=errors)
    old = json.loads(core.vault.decrypt(before.secret_cipher)) if before and before.kind == kind else {}
    shown, secret, faults = _READERS[str(kind)](dict(configuration or {}), old)
    if faults:
        raise Problem("validation_error", errors={"notification_configuration": faults})
    return {
        "name": name,
        "description": sent.get("description") or "",
        "kind": kind,
        "configuration": shown,
        "secret_cipher": core.vault.encrypt(json.dumps(secret).encode()),
    }


Read = tuple[dict[str, Any], dict[str, str], list[str]]


def _secret(given: dict[str, Any], name: str, old: Mapping[str, str]) -> Any:
    value = given.pop(name, _MASK)
    return old.get(name, "") if value == _MASK else value


def _webhook(given: dict[str, Any], old: Mapping[str, str]) -> Read:
    url, secret = given.pop("url", None), _secret(given, "secret", old)
    fault = _url_fault(url)
    faults = [f"url {fault}"] if fault else []
    if not isinstance(secret, str) or len(secret) > 255:
        faults.append("secret must be a text: what is sent is signed with it")
    return {"url": url, "secret": _MASK if secret else ""}, {"secret": secret}, faults + _unknown(given)


def _slack(given: dict[str, Any], old: Mapping[str, str]) -> Read:
    # The address of an incoming webhook is its password.
    url = _secret(given, "url", old)
    fault = _url_fault(url)
    return {"url": _MASK}, {"url": url}, ([f"url {fault}"] if fault else []) + _unknown(given)


def _email(given: dict[str, Any], old: Mapping[str, str]) -> Read:
    password = _secret(given, "password", old)
    host, port = given.pop("host", None), given.pop("port", 25)
    sender, recipients = given.pop("sender", None), given.pop("recipients", None)
    username, use_tls = given.pop("username", ""), given.pop("use_tls", True)
    faults = []
    if not isinstance(host, str) or not re.fullmatch(r"[A-Za-z0-9.:\-]{1,253}", host):
        faults.append("host must be the name of a mail server")
    if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 65535:
        faults.append("port must be from 1 to 65535")
    if not isinstance(recipients, list) or not 1 <= len(recipients) <= 50:
        faults.append("recipients must be a list of 1 to 50")
        recipients = []
    if not all(isinstance(one, str) and _MAIL.fullmatch(one) for one in [sender, *recipients]):
        faults.append("sender and recipients must be mail addresses")
    if not isinstance(username, str) or not isinstance(password, str) or not isinstance(use_tls, bool):
        faults.append("username and password must be texts, use_tls true or false")
    elif username and not use_tls:
        faults.append("a password is not sent without use_tls")
    shown = {
        "host": host, "port": port, "sender": sender, "recipients": recipients, "username": username,
        "use_tls": use_tls, "password": _MASK if password else "",
    }  # fmt: skip
    return shown, {"password": password}, faults + _unknown(given)


def _url_fault(url: Any) -> str | None:
    """Return what is wrong with a URL to send to, None when nothing is."""
    try:
        parts = urlsplit(url) if isinstance(url, str) and url.isascii() and url.isprintable() else None
        port = parts.port if parts else None
    except ValueError:
        return "is no URL"
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        return "must be an http or https URL"
    return "must hold no name or password" if "@" in parts.netloc else None


def _unknown(given: Mapping[str, Any]) -> list[str]:
    return [f"{name[:80]} is not understood" for name in given]


_READERS = {"webhook": _webhook, "slack": _slack, "email": _email}
