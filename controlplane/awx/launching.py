# SPDX-License-Identifier: Apache-2.0
"""From a launch to a release: preview it, and ask to apply it once the preview is there.

A launch answers at once. Its release waits as `preview` until the worker has made the preview; then the scheduler
asks, as who launched it may now, to apply exactly that. From there on policy, approval and locks decide.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, or_, select, update
from sqlalchemy.exc import IntegrityError

from controlplane.awx.templates import LAUNCH_FIELDS, Template
from controlplane.domain import preview as previews_rules
from controlplane.domain.errors import Problem
from controlplane.domain.permission import Actor
from controlplane.domain.release import State
from controlplane.services import access, previews, releases, yaml_documents
from controlplane.services.core import Core
from controlplane.services.yaml_documents import Bounds, NotTaken
from controlplane.store.tables import AwxJob, Release

log = logging.getLogger(__name__)

# What the events of this door say where they came from.
SOURCE = "awx"
BATCH = 100
# A scheduler that asked and did not come back: another asks again.
ASKING_SECONDS = 60.0
BROKEN_OFF = timedelta(minutes=10)
WAIT_SECONDS = 5.0
_BOUNDS = Bounds(most_bytes=256 * 1024, most_nodes=5_000, most_depth=20)
# What would make a launch do less than it says, or something else: better refused than left out.
_REFUSED = {
    "limit": "a release goes to all hosts of its target; make a target of fewer hosts",
    "job_tags": "a release has no tags to choose from",
    "skip_tags": "a release has no tags to choose from",
}


@dataclass(frozen=True)
class Asked:
    """What a launch asked for. `ignored` are fields that mean nothing here and change nothing."""

    variables: Mapping[str, Any] = field(default_factory=dict)
    version: str | None = None
    strategy: str | None = None
    strategy_params: Mapping[str, Any] | None = None
    ignored: Mapping[str, Any] = field(default_factory=dict)

    def preview(self, template: Template) -> dict[str, Any]:
        """Return what the preview is asked for."""
        return {
            "target_id": template.target_id,
            "service": template.service_id,
            "version": self.version,
            "strategy": self.strategy,
            "strategy_params": self.strategy_params,
            "variables": dict(self.variables),
        }


@dataclass(frozen=True)
class Origin:
    """How a launch came about. `request_key` is that of a request which, sent again, is the same job."""

    launch_type: str = "manual"
    schedule_id: int | None = None
    request_key: str | None = None


def read(template: Template, sent: Mapping[str, Any]) -> Asked:
    """Return what a launch's body asks for.

    Raises:
        Problem: `validation_error`, naming a field that cannot be obeyed, or extra_vars that are no mapping.
    """
    errors = {name: [why] for name, why in _REFUSED.items() if sent.get(name) not in (None, "", [])}
    if sent.get("job_type") not in (None, "", "run"):
        errors["job_type"] = [
            "only run: each launch is previewed, and the preview can be read before it is decided"
        ]
    if sent.get("inventory") not in (None, "", template.inventory, str(template.inventory)):
        errors["inventory"] = ["a template runs on the hosts of its target"]
    version = sent.get("scm_branch") or None
    if version is not None and (not isinstance(version, str) or len(version) > 64):
        errors["scm_branch"] = ["must be the name of a version of the service"]
    if errors:
        raise Problem("validation_error", errors=errors)
    known = {*LAUNCH_FIELDS, *_REFUSED, "inventory"}
    ignored = {name: value for name, value in sent.items() if name not in known}
    return Asked(read_variables(sent.get("extra_vars")), version, ignored=ignored)


def read_variables(given: Any) -> dict[str, Any]:
    """Return extra_vars, which come as an object or as JSON or YAML text.

    Raises:
        Problem: `validation_error`.
    """
    if given in (None, "", {}):
        return {}
    if isinstance(given, str):
        given = _parsed(given)
    if not isinstance(given, dict):
        raise Problem("validation_error", errors={"extra_vars": ["must be a mapping, as JSON or YAML"]})
    return given


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        documents = list(yaml_documents.read(text, _BOUNDS))
    except NotTaken as error:
        raise Problem(
            "validation_error", errors={"extra_vars": [f"neither JSON nor YAML: {error}"]}
        ) from None
    if len(documents) > 1:
        raise Problem("validation_error", errors={"extra_vars": ["must be one document"]})
    return documents[0] if documents and documents[0] is not None else {}


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
    """Preview a release and have it applied once that is done. Returns the number of the job.

    Raises:
        Problem: as `previews.request`, and `conflict` where the same request is being worked on still.
    """
    row = _row(core, actor, template, origin)
    if origin.request_key is not None and not _reserve(core, row):
        return _first(core, origin.request_key)
    try:
        release_id = previews.request(core, actor, asked.preview(template))["release_id"]
    except BaseException:
        if origin.request_key is not None:
            with core.database.write() as session:
                session.execute(delete(AwxJob).where(AwxJob.id == row.id))
        raise
    with core.database.write() as session:
        if origin.request_key is None:
            row.release_id = release_id
            session.add(row)
        else:
            session.execute(update(AwxJob).where(AwxJob.id == row.id).values(release_id=release_id))
        session.flush()
        return row.id


def _row(core: Core, actor: Actor, template: Template, origin: Origin) -> AwxJob:
    return AwxJob(
        release_id=None, template_id=template.id, template_name=template.name, user_id=actor.id,
        token_id=actor.token_id, launch_type=origin.launch_type, schedule_id=origin.schedule_id,
        asking="wanted", explanation="", request_key=origin.request_key, created_at=core.clock.now(),
    )  # fmt: skip


def _reserve(core: Core, row: AwxJob) -> bool:
    """Take the request's key; False where it is taken. The unique constraint picks the first of two at once."""
    try:
        with core.database.write() as session:
            session.add(row)
    except IntegrityError:
        return False
    return True


def _first(core: Core, key: str) -> int:
    until = time.monotonic() + WAIT_SECONDS
    while True:
        with core.database.read() as session:
            row = session.scalar(select(AwxJob).where(AwxJob.request_key == key))
        if row is not None and row.release_id is not None:
            return row.id
        if row is None or time.monotonic() > until:
            raise Problem("conflict", "the first request with this id is not answered; try again")
        time.sleep(0.1)


# --- what the scheduler does ---------------------------------------------------------------------------------


def ask_where_previewed(core: Core) -> int:
    """Ask to apply what was launched and is previewed now; return for how many that was tried."""
    now = core.clock.now()
    is_stuck = (AwxJob.asking == "asking") & (AwxJob.asked_at < now - timedelta(seconds=ASKING_SECONDS))
    due = (
        select(AwxJob.id)
        .join(Release, Release.id == AwxJob.release_id)
        .where(or_(AwxJob.asking == "wanted", is_stuck), Release.status != "previewing")
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
        release = session.get_one(Release, row.release_id)
        actor = access.actor_behind(session, row.user_id, row.token_id, now)
    if release.state != State.PREVIEW:
        # Somebody applied the preview through another door, or it has expired: the release tells it from here on.
        _settle(core, job_id, "asked", "", now)
        return
    if release.preview_ref is None:
        _settle(core, job_id, "refused", _blocked(release), now)
        return
    if actor is None:
        why = "who launched it may not any more: the user is disabled, or the token revoked or expired"
        _settle(core, job_id, "refused", why, now)
        return
    _apply(core, replace(access.through(actor, SOURCE), request_id=release.request_id), job_id, release, now)


def _apply(core: Core, actor: Actor, job_id: int, release: Release, now: datetime) -> None:
    try:
        releases.apply(core, actor, release.preview_ref, {})
    except Problem as problem:
        with core.database.read() as session:
            is_applied = session.get_one(Release, release.id).preview_used_at is not None
        if not is_applied:
            _settle(core, job_id, "refused", f"{problem.error_key}: {problem.detail}", now)
            return
    _settle(core, job_id, "asked", "", now)


def _settle(core: Core, job_id: int, asking: str, explanation: str, now: datetime) -> None:
    ended = now if asking == "refused" else None
    with core.database.write() as session:
        session.execute(
            update(AwxJob)
            .where(AwxJob.id == job_id, AwxJob.asking == "asking")
            .values(asking=asking, explanation=explanation, ended_at=ended)
        )


def _blocked(release: Release) -> str:
    checks = previews_rules.blocking((release.preview or {}).get("checks", []))
    told = "; ".join(f"{check.get('code')}: {check.get('message')}" for check in checks)
    return f"the preview shows what stands against it: {told}" if told else "no preview came of it"


def forget_broken_off(core: Core) -> int:
    """Remove jobs of requests that broke off before there was a release; return how many."""
    before = core.clock.now() - BROKEN_OFF
    is_broken = AwxJob.release_id.is_(None) & (AwxJob.created_at < before)
    with core.database.read() as session:
        if session.scalar(select(AwxJob.id).where(is_broken).limit(1)) is None:
            return 0
    with core.database.write() as session:
        gone = session.execute(delete(AwxJob).where(is_broken))
        return int(gone.rowcount)  # type: ignore[attr-defined]
