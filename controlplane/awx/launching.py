# SPDX-License-Identifier: Apache-2.0
"""From a launch to what it launches: preview it, and ask to apply it once the preview is there.

A launch answers at once. A release or an install waits until the worker has made its preview; then the scheduler asks,
as who launched it may now, to apply exactly that. From there on policy, approval and locks decide.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from controlplane.awx import extra_vars, kinds
from controlplane.awx.about import Asked, Previewed, Template
from controlplane.awx.templates import LAUNCH_FIELDS
from controlplane.domain.errors import Problem
from controlplane.domain.permission import Actor
from controlplane.services import access
from controlplane.services.core import Core
from controlplane.store.tables import AwxJob, InstallTask, Release

log = logging.getLogger(__name__)

# What the events of this door say where they came from.
SOURCE = "awx"
BATCH = 100
# A scheduler that asked and did not come back: another asks again.
ASKING_SECONDS = 60.0


@dataclass(frozen=True)
class Origin:
    """How a launch came about. `request_key` is that of a request which, sent again, is the same job.

    `also` is called with the job in the transaction that makes it, before it is written; what it raises undoes both.
    """

    launch_type: str = "manual"
    schedule_id: int | None = None
    request_key: str | None = None
    also: Callable[[Session, AwxJob], None] | None = None


def read(template: Template, sent: Mapping[str, Any]) -> Asked:
    """Return what a launch's body asks for.

    Raises:
        Problem: `validation_error`, naming a field that cannot be obeyed, or extra_vars that are no mapping.
    """
    about = kinds.of_template(template)
    # What would make a launch do less than it says: better refused than left out.
    refused = {
        "limit": about.whole,
        "job_tags": "there are no tags to choose from",
        "skip_tags": "there are no tags",
    }
    errors = {name: [why] for name, why in refused.items() if sent.get(name) not in (None, "", [])}
    if sent.get("job_type") not in (None, "", "run"):
        errors["job_type"] = [
            "only run: each launch is previewed, and the preview can be read before it is decided"
        ]
    if sent.get("inventory") not in (None, "", template.inventory, str(template.inventory)):
        errors["inventory"] = [f"a template runs where it is of: {about.whole}"]
    version = sent.get("scm_branch") or None
    if version is not None and (not isinstance(version, str) or len(version) > 64):
        errors["scm_branch"] = ["must be the name of a version of the service"]
    if version is not None and not about.has_versions:
        errors["scm_branch"] = ["an install has no version; runtime_version says which runtime"]
    if errors:
        raise Problem("validation_error", errors=errors)
    known = {*LAUNCH_FIELDS, *refused, "inventory"}
    ignored = {name: value for name, value in sent.items() if name not in known}
    return Asked(extra_vars.read(sent.get("extra_vars")), version, ignored=ignored)


def request_key(actor: Actor, request_id: str | None, path: str, body: bytes, part: int = 0) -> str | None:
    """Return what makes two requests the same launch; None where the caller named no request id."""
    if not request_id:
        return None
    whole = hashlib.sha256()
    for text in (actor.id, request_id, path, str(part)):
        whole.update(f"{len(text)}:{text}".encode())
    whole.update(body)
    return whole.hexdigest()


def launch(core: Core, actor: Actor, template: Template, asked: Asked, origin: Origin) -> int:
    """Have it previewed, and applied once that is done. Returns the number of the job.

    The job and what it launches are one transaction: there is never the one without the other, and it is on disk once.

    Raises:
        Problem: as `About.begin`.
    """
    about = kinds.of_template(template)
    first = _of_request(core, origin.request_key)
    if first is not None:
        return first
    row = _row(core, actor, template, origin)

    def beside(session: Session, launched: str) -> None:
        setattr(row, about.column, launched)
        if origin.also is not None:
            origin.also(session, row)
        session.add(row)
        session.flush()

    try:
        about.begin(core, actor, template, asked, beside)
    except IntegrityError:
        # The unique key picks the first of two at once; the other one's launch was undone with it.
        first = _of_request(core, origin.request_key)
        if first is None:
            raise
        return first
    return row.id


def _row(core: Core, actor: Actor, template: Template, origin: Origin) -> AwxJob:
    return AwxJob(
        release_id=None, task_id=None, template_id=template.id, template_name=template.name, user_id=actor.id,
        token_id=actor.token_id, launch_type=origin.launch_type, schedule_id=origin.schedule_id,
        asking="wanted", explanation="", request_key=origin.request_key, created_at=core.clock.now(),
    )  # fmt: skip


def _of_request(core: Core, key: str | None) -> int | None:
    """Return the job of a request that was sent before."""
    if key is None:
        return None
    with core.database.read() as session:
        found: int | None = session.scalar(select(AwxJob.id).where(AwxJob.request_key == key))
    return found


# --- what the scheduler does ---------------------------------------------------------------------------------


def ask_where_previewed(core: Core) -> int:
    """Ask to apply what was launched and is previewed now; return for how many that was tried."""
    now = core.clock.now()
    is_stuck = (AwxJob.asking == "asking") & (AwxJob.asked_at < now - timedelta(seconds=ASKING_SECONDS))
    due = (
        select(AwxJob.id)
        .outerjoin(Release, Release.id == AwxJob.release_id)
        .outerjoin(InstallTask, InstallTask.id == AwxJob.task_id)
        .where(
            or_(AwxJob.asking == "wanted", is_stuck),
            func.coalesce(Release.status, InstallTask.status) != "previewing",
        )
        .order_by(AwxJob.id)
        .limit(BATCH)
    )
    with core.database.read() as session:
        ids = list(session.scalars(due))
    for job_id in ids:
        try:
            _ask(core, job_id)
        except Exception:
            # The next one is somebody else's; this one is tried again when the time for asking is over.
            log.exception("a launched job could not be asked for", extra={"awx_job": job_id})
    return len(ids)


def _ask(core: Core, job_id: int) -> None:
    now = core.clock.now()
    with core.database.write() as session:
        row = session.get_one(AwxJob, job_id, with_for_update=True)
        since = now - timedelta(seconds=ASKING_SECONDS)
        is_stuck = row.asking == "asking" and row.asked_at is not None and row.asked_at < since
        if not is_stuck and row.asking != "wanted":
            return
        row.asking, row.asked_at = "asking", now
        found = kinds.of_job(row).previewed(session, kinds.id_of(row))
        actor = access.actor_behind(session, row.user_id, row.token_id, now)
    if not found.is_open:
        # Somebody applied the preview through another door, or it has ended: it tells of itself from here on.
        _settle(core, job_id, "asked", "", now)
        return
    if found.preview_ref is None:
        why = (
            f"the preview shows what stands against it: {found.against}"
            if found.against
            else "no preview came of it"
        )
        _settle(core, job_id, "refused", why, now)
        return
    if actor is None:
        why = "who launched it may not any more: the user is disabled, or the token revoked or expired"
        _settle(core, job_id, "refused", why, now)
        return
    _apply(core, replace(access.through(actor, SOURCE), request_id=found.request_id), row, found, now)


def _apply(core: Core, actor: Actor, row: AwxJob, found: Previewed, now: datetime) -> None:
    about = kinds.of_job(row)
    try:
        about.apply(core, actor, found)
    except Problem as problem:
        with core.database.read() as session:
            is_applied = about.is_used(session, found.id)
        if not is_applied:
            _settle(core, row.id, "refused", f"{problem.error_key}: {problem.detail}", now)
            return
    _settle(core, row.id, "asked", "", now)


def _settle(core: Core, job_id: int, asking: str, explanation: str, now: datetime) -> None:
    ended = now if asking == "refused" else None
    with core.database.write() as session:
        session.execute(
            update(AwxJob)
            .where(AwxJob.id == job_id, AwxJob.asking == "asking")
            .values(asking=asking, explanation=explanation, ended_at=ended)
        )
