# SPDX-License-Identifier: Apache-2.0
"""Webhooks in: GitHub and GitLab launch a template, with values that an explicit mapping takes from the payload.

GitHub signs the payload (HMAC-SHA256); GitLab sends the key itself. A payload is taken once. It launches as who set
the webhook up may at that time.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from flask import Response, current_app, request
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from controlplane.api.auth import current_actor, current_core
from controlplane.api.login_limit import LoginLimit
from controlplane.api.parser import read_json
from controlplane.api.request_id import current_request_id
from controlplane.awx import ids, kinds, launching, templates
from controlplane.awx.about import Asked, Template
from controlplane.awx.answer import body, json_answer
from controlplane.awx.launching import SOURCE, Origin
from controlplane.awx.resource import as_id, field, whole_number
from controlplane.awx.resources import PREFIX
from controlplane.domain.errors import Problem
from controlplane.domain.permission import Actor
from controlplane.domain.variables import NAME
from controlplane.services import access, record
from controlplane.services.core import Core
from controlplane.store.tables import AwxDelivery, AwxJob, AwxWebhook, Project

FORGES: Mapping[str, str] = {"github": "push", "gitlab": "Push Hook"}
VERSION = "scm_branch"
MOST_MAPPED = 50
_PATH = re.compile(r"[A-Za-z0-9_\-]+(\.[A-Za-z0-9_\-]+){0,9}")
FIELDS: Mapping[str, Mapping[str, Any]] = {
    "webhook_service": field(
        "choice", "Whose webhook.", required=True, choices=[["github", "GitHub"], ["gitlab", "GitLab"]]
    ),
    "mapping": field("json", "Variable -> dotted path into the payload; scm_branch is the version.", default={}),
    "events": field("field", "The names of events that launch; pushes where it is left out."),
}  # fmt: skip


def show(pk: str) -> Response:
    """Say which webhooks a template has; never their keys."""
    core, actor = current_core(), current_actor()
    template = templates.load(core, actor, pk)
    with core.database.read() as session:
        rows = list(session.scalars(select(AwxWebhook).where(AwxWebhook.template_uid == template.uid)))
    return json_answer({"webhook_key": "", "webhooks": [_show(row) for row in rows]})


def set_up(pk: str) -> Response:
    """Make a webhook's key, or another in its place. It is shown this once."""
    core, actor, sent = current_core(), current_actor(), body()
    ids.number(core, templates.JOB_TEMPLATES.kinds)
    template = templates.load(core, actor, pk)
    kinds.of_template(template).require(core, actor, template)
    forge, mapping, events = _read(sent)
    key = secrets.token_urlsafe(32)
    row = AwxWebhook(
        template_uid=template.uid, forge=forge, key_cipher=core.vault.encrypt(key.encode()), mapping=mapping,
        events=events, user_id=actor.id, token_id=actor.token_id, created_at=core.clock.now(),
    )  # fmt: skip
    with core.database.write() as session:
        session.merge(row)
        _tell(core, session, actor, "created", template, forge)
    receiver = f"{PREFIX}/job_templates/{template.id}/{forge}/"
    return json_answer({"webhook_key": key, "receiver": receiver, **_show(row)}, 201)


def remove(pk: str) -> Response:
    """Remove a template's webhooks: their keys open nothing any more."""
    core, actor = current_core(), current_actor()
    template = templates.load(core, actor, pk)
    kinds.of_template(template).require(core, actor, template)
    with core.database.write() as session:
        session.execute(delete(AwxWebhook).where(AwxWebhook.template_uid == template.uid))
        _tell(core, session, actor, "deleted", template, "all")
    return Response(status=204)


def _tell(core: Core, session: Session, actor: Actor, verb: str, template: Template, forge: str) -> None:
    project = session.get_one(Project, template.project_id)
    about = ("awx_webhook", str(template.id))
    record.tell(core, session, actor, f"resource.{verb}", about, project, forge=forge, template=template.name)


def _show(row: AwxWebhook) -> dict[str, Any]:
    return {"webhook_service": row.forge, "mapping": row.mapping, "events": row.events}


def _read(sent: Mapping[str, Any]) -> tuple[str, dict[str, str], list[str]]:
    errors: dict[str, list[str]] = {}
    forge, mapping = sent.get("webhook_service"), sent.get("mapping") or {}
    if forge not in FORGES:
        errors["webhook_service"] = [f"must be one of {', '.join(FORGES)}"]
    events = sent.get("events") or [FORGES.get(str(forge), "")]
    if not isinstance(events, list) or not all(isinstance(name, str) and name for name in events):
        errors["events"] = ["must be a list of names"]
    if not isinstance(mapping, dict) or len(mapping) > MOST_MAPPED:
        errors["mapping"] = [f"must be a mapping of at most {MOST_MAPPED}"]
    else:
        wrong = [
            name
            for name, path in mapping.items()
            if not NAME.fullmatch(name) or not isinstance(path, str) or not _PATH.fullmatch(path)
        ]
        if wrong:
            errors["mapping"] = [
                f"{name[:80]}: must be a variable and a path such as head_commit.id" for name in wrong
            ]
    errors |= {name[:80]: ["is no field of a webhook"] for name in set(sent) - set(FIELDS)}
    if errors:
        raise Problem("validation_error", errors=errors)
    return str(forge), mapping, events


# --- what a forge sends --------------------------------------------------------------------------------------


def github(pk: str) -> Response:
    """Take what GitHub sends."""
    return _receive(pk, "github", request.headers.get("X-GitHub-Event", ""))


def gitlab(pk: str) -> Response:
    """Take what GitLab sends."""
    return _receive(pk, "gitlab", request.headers.get("X-Gitlab-Event", ""))


def _receive(pk: str, forge: str, event: str) -> Response:
    core, payload = current_core(), request.get_data(cache=True)
    hook = _verified(core, pk, forge, payload)
    if event not in hook.events:
        return json_answer({"message": f"the event {event[:80]} launches nothing here"}, 202)
    actor = _actor(core, hook)
    template = templates.load(core, actor, pk)
    asked = _mapped(hook, payload)
    digest = hashlib.sha256(f"{forge}\n{event}\n".encode() + payload).hexdigest()
    delivery = AwxDelivery(template_uid=hook.template_uid, digest=digest, created_at=core.clock.now())
    origin = Origin("webhook", also=partial(_take_once, delivery))
    job_id = launching.launch(core, actor, template, asked, origin)
    return json_answer({"message": "Job queued.", "job": job_id, "url": f"{PREFIX}/jobs/{job_id}/"}, 202)


def _verified(core: Core, pk: str, forge: str, payload: bytes) -> AwxWebhook:
    """Return the webhook that the payload was signed for; who cannot sign learns nothing of whether there is one."""
    limit, address = _limit(), request.remote_addr or ""
    if limit.is_spent(address):
        raise limit.refusal(address)
    with core.database.read() as session:
        uid = ids.uid_of(session, "job_template", as_id(pk))
        hook = session.get(AwxWebhook, (uid, forge)) if uid else None
    key = core.vault.decrypt(hook.key_cipher) if hook else secrets.token_bytes(32)
    if forge == "github":
        offered = request.headers.get("X-Hub-Signature-256", "")
        expected = "sha256=" + hmac.new(key, payload, hashlib.sha256).hexdigest()
    else:
        offered, expected = request.headers.get("X-Gitlab-Token", ""), key.decode("latin-1")
    if not hmac.compare_digest(offered.encode("utf-8", "replace"), expected.encode()) or hook is None:
        limit.note(address)
        raise Problem("permission_denied", "the payload is not signed with the key of such a webhook")
    return hook


def _actor(core: Core, hook: AwxWebhook) -> Actor:
    with core.database.read() as session:
        actor = access.actor_behind(session, hook.user_id, hook.token_id, core.clock.now())
    if actor is None:
        raise Problem("permission_denied", "who set the webhook up may not any more")
    return replace(access.through(actor, SOURCE), request_id=current_request_id())


def _mapped(hook: AwxWebhook, payload: bytes) -> Asked:
    sent = read_json(payload)
    values = {name: _at(sent, name, path) for name, path in hook.mapping.items()}
    version = values.pop(VERSION, None)
    return Asked(values, str(version) if version is not None else None)


def _at(sent: Any, name: str, path: str) -> Any:
    found = sent
    for part in path.split("."):
        if isinstance(found, dict) and part in found:
            found = found[part]
            continue
        place = whole_number(part, len(found) - 1) if isinstance(found, list) and found else None
        if place is None:
            raise Problem("validation_error", errors={name: [f"the payload has no {path}"]})
        found = found[place]
    if not isinstance(found, str | int | float | bool):
        raise Problem("validation_error", errors={name: [f"{path} is no single value"]})
    return found


def _take_once(delivery: AwxDelivery, session: Session, _job: AwxJob) -> None:
    """Keep that a payload was taken, with the job that it launched: neither is ever there alone."""
    session.add(delivery)
    try:
        session.flush()
    except IntegrityError:
        raise Problem("conflict", "this payload was taken already") from None


def _limit() -> LoginLimit:
    limit: LoginLimit = current_app.extensions["tidegate.login_limit"]
    return limit
