# SPDX-License-Identifier: Apache-2.0
"""What a blue/green release keeps for a while, to be switched back to at once; a job deletes it when that is over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from controlplane.domain import step
from controlplane.domain.diagnostics import Findings
from controlplane.domain.permission import system_actor
from controlplane.ports.runner import PlaybookRun, RunEvent, RunOutcome
from controlplane.services import jobs, release_spec, run_place, timeline
from controlplane.services.core import Core
from controlplane.services.jobs import Lease
from controlplane.store import events
from controlplane.store.tables import Job, Release, Target

PLAYBOOK = "release_retire.yml"
TIMEOUT_SECONDS = 300.0
# A cluster that could not be reached is tried again after this; so is one that says that the time is not over yet.
RETRY = timedelta(minutes=10)
BATCH = 20


def kept_until(data: Mapping[str, Any]) -> datetime | None:
    """Return until when a module's result says that something is kept, None when it keeps nothing for a time."""
    seconds = data.get("kept_until")
    return datetime.fromtimestamp(seconds, UTC) if isinstance(seconds, int | float) else None


def forget_earlier(session: Session, release: Release) -> None:
    """Expect nothing more of what earlier releases kept: this one has taken over what was there."""
    session.execute(
        update(Release)
        .where(
            Release.target_id == release.target_id,
            Release.service_id == release.service_id,
            Release.id != release.id,
            Release.kept_until.is_not(None),
        )
        .values(kept_until=None)
        .execution_options(synchronize_session=False)
    )


def queue_due(core: Core) -> int:
    """Queue a job for each release whose time to keep something is over; return how many."""
    now = core.clock.now()
    with core.database.read() as session:
        due = list(session.scalars(select(Release.id).where(Release.kept_until <= now).limit(BATCH)))
    return sum(_queue(core, release_id, now) for release_id in due)


def _queue(core: Core, release_id: str, now: datetime) -> bool:
    with core.database.write() as session:
        release = session.get_one(Release, release_id, with_for_update=True)
        # Another scheduler, or a release, may have been first.
        if release.kept_until is None or release.kept_until > now:
            return False
        release.kept_until = None
        job = jobs.add(
            session,
            now,
            kind="retirement",
            resource=("target", release.target_id),
            project_id=release.project_id,
            resources=run_place.claims(session.get_one(Target, release.target_id)),
            params={"release_id": release.id},
        )
    core.queue.wake(job.id)
    return True


class RetirementJob:
    """See `job_kind.JobKind`. It is told on the timeline of the release that kept what goes."""

    def __init__(self, core: Core, lease: Lease) -> None:
        self._core = core
        self._lease = lease
        self._actor = system_actor("worker")
        self._findings = Findings()
        self._again_at: datetime | None = None

    def begin(self) -> PlaybookRun | None:
        """Say what to run: it deletes what the cluster itself says is kept, and only when its time is over."""
        with self._core.database.read() as session:
            target = session.get_one(Target, self._lease.resource_id)
            release = self._release(session)
            place = run_place.of_target(self._core, session, target)
            spec = release_spec.apply_spec(self._core, session, release, self._lease.token)
        return PlaybookRun(
            job_id=self._lease.job_id,
            playbook=PLAYBOOK,
            hosts=list(place.hosts.values()),
            group=place.group,
            documents={"release_spec_file": spec, **place.documents},
            secret_env=release_spec.secret_env(self._core),
            timeout=TIMEOUT_SECONDS,
        )

    def record(self, batch: Sequence[RunEvent]) -> None:
        """Keep the log; tell on the release's timeline what was deleted."""
        told: list[tuple[str, str, dict[str, Any]]] = []
        for event in batch:
            self._findings.note(event.host, event.data, failed=event.failed, unreachable=event.unreachable)
            if event.data is not None:
                self._again_at = kept_until(event.data) or self._again_at
            for action, detail in step.finished(event.kind, event.host, event.data):
                told.append((action, "failed" if action == "step_failed" else "success", detail))
        with self._core.database.write() as session:
            jobs.fenced(session, self._lease)
            jobs.write_logs(session, self._lease, batch)
            release = self._release(session)
            rows = [
                timeline.release_event(release, action, status, **detail) for action, status, detail in told
            ]
            events.append(session, self._actor, self._core.clock.now(), rows)

    def end(self, outcome: RunOutcome) -> PlaybookRun | None:
        """Say how it ended; what is still there is tried again later."""
        if outcome.status == "successful":
            self._finish("succeeded", {}, self._again_at)
        else:
            failure = next(iter(self._findings.failures.values()), {})
            said = {"error_key": failure.get("error_key") or "internal_error", "detail": outcome.message}
            self._finish("failed", said, self._core.clock.now() + RETRY)
        return None

    def refuse(self, error_key: str, detail: str) -> None:
        """End the job; it is tried again later."""
        self._finish("failed", {"error_key": error_key, "detail": detail}, self._core.clock.now() + RETRY)

    def _finish(self, word: str, result: Mapping[str, Any], again_at: datetime | None) -> None:
        with self._core.database.write() as session:
            job = jobs.fenced(session, self._lease)
            jobs.finish(job, self._core.clock.now(), word, result)
            if again_at is not None and self._is_newest(session):
                self._release(session).kept_until = again_at

    def _is_newest(self, session: Session) -> bool:
        """Has no other release taken over since what this one kept?"""
        release = self._release(session)
        newest = session.scalar(
            select(Release.id)
            .where(
                Release.target_id == release.target_id,
                Release.service_id == release.service_id,
                Release.verified_at.is_not(None),
            )
            .order_by(Release.verified_at.desc())
            .limit(1)
        )
        return newest == release.id

    def _release(self, session: Session) -> Release:
        job = session.get_one(Job, self._lease.job_id)
        return session.get_one(Release, str(job.params["release_id"]))
