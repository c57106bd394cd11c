# SPDX-License-Identifier: Apache-2.0
"""Notifications of jobs: made when a job starts or ends, delivered beside the scheduler, tried again with back-off."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from controlplane.awx import ids, kinds
from controlplane.awx.jobs import ENDED, STATUS, joined, launched
from controlplane.services import views
from controlplane.services.core import Core
from controlplane.store.tables import (
    AwxJob,
    AwxNotification,
    AwxNotifier,
    AwxNotifierLink,
    InstallTask,
    Project,
    Release,
)

log = logging.getLogger(__name__)
BATCH = 100
MOST_ATTEMPTS = 6
# Doubled with each attempt: 10 s to 160 s.
FIRST_PAUSE = 10
# Longer than one attempt may take; whoever holds a notification longer was killed.
HELD = timedelta(seconds=120)
_one_at_a_time = threading.Lock()


def note_changes(core: Core) -> int:
    """Make the notifications of jobs that started or ended; return how many jobs that were."""
    is_news = (STATUS.in_(ENDED)) | ((AwxJob.told == "") & (STATUS == "running"))
    every = select(AwxJob, Release, InstallTask, STATUS.label("status"), Project.name.label("project"))
    news = (
        joined(every.select_from(AwxJob))
        .join(Project, Project.id == func.coalesce(Release.project_id, InstallTask.project_id))
        .where(AwxJob.told != "ended", is_news)
        .order_by(AwxJob.id)
        .limit(BATCH)
    )
    with core.database.read() as session:
        rows = session.execute(news).all()
    for row in rows:
        _note(core, row)
    return len(rows)


def _note(core: Core, row: Any) -> None:
    job, has_ended, now = row.AwxJob, row.status in ENDED, core.clock.now()
    events = ["started"] if job.told == "" and launched(row).started_at else []
    if has_ended:
        events.append("success" if row.status == "successful" else "error")
    once = sqlite_insert if core.database.is_sqlite else postgresql_insert
    with core.database.write() as session:
        moved = session.execute(
            update(AwxJob)
            .where(AwxJob.id == job.id, AwxJob.told == job.told)
            .values(told="ended" if has_ended else "started")
        )
        if not moved.rowcount:  # type: ignore[attr-defined]
            return
        uid = ids.uid_of(session, "job_template", job.template_id)
        links = session.scalars(
            select(AwxNotifierLink).where(
                AwxNotifierLink.template_uid == uid, AwxNotifierLink.event.in_(events)
            )
        )
        made = [
            {
                "notifier_id": link.notifier_id, "awx_job_id": job.id, "event": link.event, "status": "pending",
                "payload": _payload(row, link.event), "error": "", "attempts": 0, "due_at": now, "created_at": now,
            }
            for link in sorted(links, key=lambda link: events.index(link.event))
        ]  # fmt: skip
        if made:
            session.execute(once(AwxNotification).on_conflict_do_nothing(), made)


def _payload(row: Any, event: str) -> dict[str, Any]:
    job, it, named = row.AwxJob, launched(row), kinds.of_job(row.AwxJob).named(row)
    status = "running" if event == "started" else row.status
    diagnostics = it.diagnostics or {}
    called = " ".join(text for text in (job.template_name, named["version"]) if text)
    return {
        "event": event,
        "id": job.id,
        "name": job.template_name,
        "url": f"/api/v2/jobs/{job.id}/",
        "status": status,
        "project": row.project,
        **named,
        "created_by": it.created_by_name,
        "started": views.moment(it.started_at),
        "finished": None if event == "started" else views.moment(job.ended_at or it.finished_at),
        "job_explanation": job.explanation or str(diagnostics.get("summary") or ""),
        "text": f"Tidegate: job {job.id}, {called}: {status}",
    }


def begin_deliveries(core: Core) -> int:
    """Deliver what is due in a thread of its own, unless one is at it: no scheduler waits for a slow receiver."""
    with core.database.read() as session:
        is_due = (AwxNotification.status == "pending") & (AwxNotification.due_at <= core.clock.now())
        if session.scalar(select(AwxNotification.id).where(is_due).limit(1)) is None:
            return 0
    if not _one_at_a_time.acquire(blocking=False):
        return 0
    threading.Thread(target=_deliver_and_release, args=(core,), name="notifications", daemon=True).start()
    return 1


def _deliver_and_release(core: Core) -> None:
    try:
        deliver_due(core)
    except Exception:
        log.exception("notifications could not be delivered")
    finally:
        _one_at_a_time.release()


def deliver_due(core: Core) -> int:
    """Try to deliver what is due; return for how many that was tried."""
    due = (
        select(AwxNotification)
        .where(AwxNotification.status == "pending", AwxNotification.due_at <= core.clock.now())
        .order_by(AwxNotification.due_at, AwxNotification.id)
        .limit(BATCH)
    )
    with core.database.read() as session:
        found = list(session.scalars(due))
    return sum(_deliver(core, notification) for notification in found)


def _deliver(core: Core, notification: AwxNotification) -> bool:
    now = core.clock.now()
    with core.database.write() as session:
        taken = session.execute(
            update(AwxNotification)
            .where(
                AwxNotification.id == notification.id,
                AwxNotification.status == "pending",
                AwxNotification.due_at == notification.due_at,
            )
            .values(due_at=now + HELD)
        )
        if not taken.rowcount:  # type: ignore[attr-defined]
            return False
        notifier = session.get_one(AwxNotifier, notification.notifier_id)
        secret = json.loads(core.vault.decrypt(notifier.secret_cipher))
    attempts = notification.attempts + 1
    # What sends is loaded where something is sent: most installations send nothing.
    from controlplane.awx.outbound import NotSent

    values: dict[str, Any] = {"attempts": attempts, "status": "successful", "error": "", "ended_at": now}
    try:
        _SENDERS[notifier.kind](core, notifier.configuration, secret, notification)
    except NotSent as error:
        values.update(error=str(error), status="failed")
        if attempts < MOST_ATTEMPTS:
            pause = timedelta(seconds=FIRST_PAUSE * 2 ** (attempts - 1))
            values.update(status="pending", due_at=core.clock.now() + pause, ended_at=None)
    with core.database.write() as session:
        session.execute(update(AwxNotification).where(AwxNotification.id == notification.id).values(**values))
    return True


def _webhook(
    core: Core, configuration: Mapping[str, Any], secret: Mapping[str, str], told: AwxNotification
) -> None:
    body = json.dumps(told.payload).encode()
    moment = str(int(time.time()))
    headers = {
        "X-Tidegate-Event": told.event,
        "X-Tidegate-Delivery": str(told.id),
        "X-Tidegate-Timestamp": moment,
    }
    if secret["secret"]:
        # The time is signed too, so that a receiver can refuse what is old.
        signed = hmac.new(secret["secret"].encode(), f"{moment}.".encode() + body, hashlib.sha256)
        headers["X-Tidegate-Signature"] = f"sha256={signed.hexdigest()}"
    _post(str(configuration["url"]), body, headers, core.settings.notification_address_allow)


def _post(url: str, body: bytes, headers: Mapping[str, str], allowed: Sequence[str]) -> None:
    from controlplane.awx import outbound

    outbound.post(url, body, headers, allowed)


def _slack(
    core: Core, _configuration: Mapping[str, Any], secret: Mapping[str, str], told: AwxNotification
) -> None:
    # Three characters mean something in Slack's text.
    text = told.payload["text"].replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    body = json.dumps({"text": text}).encode()
    _post(secret["url"], body, {}, core.settings.notification_address_allow)


def _email(
    core: Core, configuration: Mapping[str, Any], secret: Mapping[str, str], told: AwxNotification
) -> None:
    from email.message import EmailMessage

    from controlplane.awx import outbound

    message = EmailMessage()
    message["From"] = configuration["sender"]
    message["To"] = ", ".join(configuration["recipients"])
    message["Subject"] = " ".join(str(told.payload["text"]).split())[:200]
    message["Message-ID"] = f"<tidegate-{told.id}-{int(told.created_at.timestamp())}@tidegate.invalid>"
    message.set_content("\n".join(f"{name}: {value}" for name, value in told.payload.items() if value))
    outbound.mail(configuration, secret["password"], message, core.settings.notification_address_allow)


_SENDERS = {"webhook": _webhook, "slack": _slack, "email": _email}
