# SPDX-License-Identifier: Apache-2.0
"""The steps of an install as rows: written as they begin and end, in the transaction of their events."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from controlplane.domain.errors import ERRORS
from controlplane.store.tables import InstallStep


def begin(session: Session, task_id: str, host: str, name: str, now: datetime) -> InstallStep:
    """Write that a step is under way on a host. A step that was tried before counts one more attempt."""
    row = session.get(InstallStep, (task_id, host, name))
    if row is None:
        row = _new(session, task_id, host, name)
        row.attempt = 1
    elif row.status != "running":
        row.attempt += 1
    row.status = "running"
    row.started_at, row.finished_at = now, None
    row.duration_ms = row.exit_code = row.error_key = row.remediation = None
    row.stdout_tail = row.stderr_tail = ""
    return row


def end(session: Session, task_id: str, told: Mapping[str, Any], now: datetime) -> InstallStep:
    """Write how a step ended, from what its record says; one that was never seen to begin began then."""
    row = session.get(InstallStep, (task_id, str(told["host"]), str(told["step"])))
    if row is None or row.status != "running":
        row = begin(session, task_id, str(told["host"]), str(told["step"]), now)
    detail = dict(told.get("detail") or {})
    key = detail.pop("error_key", None)
    row.status = str(told.get("status") or "succeeded")
    row.finished_at = now
    row.duration_ms = told.get("duration_ms")
    row.exit_code = told.get("exit_code")
    row.stdout_tail, row.stderr_tail = told.get("stdout_tail") or "", told.get("stderr_tail") or ""
    row.error_key = str(key)[:48] if key else None
    remediation = detail.pop("remediation", None) or (ERRORS[key].hint if key in ERRORS else None)
    row.remediation = str(remediation) if row.status == "failed" and remediation else None
    row.detail = detail
    return row


def break_off(session: Session, task_id: str, error_key: str, now: datetime) -> None:
    """End the steps that were under way when their task ended: how far they came is not known."""
    query = select(InstallStep).where(InstallStep.task_id == task_id, InstallStep.status == "running")
    for row in session.scalars(query):
        row.status = "failed"
        row.finished_at = now
        row.error_key = error_key
        row.remediation = "Retry the task: it goes on at this step."


def _new(session: Session, task_id: str, host: str, name: str) -> InstallStep:
    last = session.scalar(
        select(func.max(InstallStep.position)).where(InstallStep.task_id == task_id, InstallStep.host == host)
    )
    row = InstallStep(task_id=task_id, host=host, step=name, position=(last or 0) + 1, detail={})
    session.add(row)
    return row
