# SPDX-License-Identifier: Apache-2.0
"""The health gate of a canary that waits for people: a look by schedule, which changes nothing. One that is not well is
taken back by the job that waits, as if somebody had decided so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, or_, select
from sqlalchemy import delete as sql_delete
from sqlalchemy.orm import Session

from controlplane.domain import step
from controlplane.domain.diagnostics import Findings, describe
from controlplane.domain.permission import system_actor
from controlplane.ports.runner import PlaybookRun, RunEvent, RunHost, RunOutcome
from controlplane.services import connection, jobs, release_spec, run_place, timeline
from controlplane.services.core import Core
from controlplane.services.jobs import Lease, LeaseLost
from controlplane.store import events, guard, locking
from controlplane.store.events import NewEvent
from controlplane.store.tables import Job, JobLog, Release, Target

KIND = "canary_watch"
PLAYBOOK = "release_watch.yml"
TIMEOUT_SECONDS = 120.0
BATCH = 50
# What the gate says of a canary that is not well. Any other failure is one to look.
UNWELL = "rollout_failed"


def look_where_due(core: Core) -> int:
    """Queue a look at each canary in a cluster that waits and was not looked at for an interval; return how many.

    The interval is the setting `canary_watch_seconds`; 0 looks at nothing by itself.
    """
    interval = core.settings.canary_watch_seconds
    if not interval:
        return 0
    before = core.clock.now() - timedelta(seconds=interval)
    with core.database.read() as session:
        due = list(session.scalars(_due(before).limit(BATCH)))
    return sum(_look_again(core, release_id, before) for release_id in due)


def _due(before: datetime) -> Select[str]:
    recent = select(Job.id).where(
        Job.kind == KIND,
        Job.resource_id == Release.target_id,
        or_(Job.created_at > before, Job.state != "done"),
    )
    # One that is watched by its own run is paused as well, and its job is at work.
    waiting = select(Job.id).where(Job.kind == "apply", Job.resource_id == Release.id, Job.state == "paused")
    return select(Release.id).where(
        Release.runtime_type == "k8s", Release.status == "paused", waiting.exists(), ~recent.exists()
    )


def _look_again(core: Core, release_id: str, before: datetime) -> bool:
    now = core.clock.now()
    with core.database.write() as session:
        release = locking.release(session, release_id)
        # Somebody may have decided, or another scheduler asked, between the look and the lock.
        if session.scalar(_due(before).where(Release.id == release_id)) is None:
            return False
        _forget_old(session, release)
        # It claims nothing: the job that waits has the namespace.
        job = jobs.add(
            session,
            now,
            kind=KIND,
            resource=("target", release.target_id),
            project_id=release.project_id,
            params={"release_id": release.id},
        )
    core.queue.wake(job.id)
    return True


def _forget_old(session: Session, release: Release) -> None:
    """Keep the last look only: there is one a minute, and fencing tokens go on from the newest that is there."""
    done = select(Job.id).where(Job.kind == KIND, Job.resource_id == release.target_id, Job.state == "done")
    old = list(session.scalars(done.order_by(Job.fencing_token.desc()).offset(1)))
    session.execute(sql_delete(JobLog).where(JobLog.job_id.in_(old)))
    session.execute(sql_delete(Job).where(Job.id.in_(old)))


class CanaryWatchJob:
    """See `job_kind.JobKind`. What it finds is told on the timeline of the release only when something follows."""

    def __init__(self, core: Core, lease: Lease) -> None:
        self._core = core
        self._lease = lease
        self._actor = system_actor("worker")
        self._findings = Findings()
        self._hosts: Mapping[str, RunHost] = {}
        self._steps: list[dict[str, Any]] = []
        # The release's as the look began: one that was promoted meanwhile and waits again is not what was looked at.
        self._version: int | None = None

    def begin(self) -> PlaybookRun | None:
        """Say what to run; nothing where the canary waits no more."""
        with self._core.database.read() as session:
            release = self._release(session)
            if _waiting(session, release) is not None:
                place = run_place.of_target(self._core, session, session.get_one(Target, release.target_id))
                self._hosts, self._version = place.hosts, release.version
                return PlaybookRun(
                    job_id=self._lease.job_id,
                    playbook=PLAYBOOK,
                    hosts=list(place.hosts.values()),
                    group=place.group,
                    documents={
                        "release_spec_file": release_spec.apply_spec(
                            self._core, session, release, self._lease.token
                        ),
                        **place.documents,
                    },
                    secret_env=release_spec.secret_env(self._core),
                    timeout=TIMEOUT_SECONDS,
                )
        self._finish("cancelled", {})
        return None

    def record(self, batch: Sequence[RunEvent]) -> None:
        """Keep the log, and what failed."""
        for event in batch:
            self._findings.note(event.host, event.data, failed=event.failed, unreachable=event.unreachable)
            found = step.finished(event.kind, event.host, event.data)
            self._steps += [detail for action, detail in found if action == "step_failed"]
        with self._core.database.write() as session:
            jobs.fenced(session, self._lease)
            jobs.write_logs(session, self._lease, batch)

    def end(self, outcome: RunOutcome) -> PlaybookRun | None:
        """Have the canary taken back if it is not well, and tell when it cannot be looked at."""
        if outcome.status == "successful":
            self._finish("succeeded", {})
            return None
        reached = connection.explain(self._core, self._hosts, self._findings.unreachable)
        key = "timeout" if outcome.status == "timeout" else "internal_error"
        said = outcome.message or f"the look ended {outcome.status}"
        self._finish("failed", describe(self._findings, reached, key, said))
        return None

    def refuse(self, error_key: str, detail: str) -> None:
        """End the job: the canary could not be looked at."""
        self._finish("failed", describe(Findings(), {}, error_key, detail))

    def _finish(self, word: str, found: Mapping[str, Any]) -> None:
        now = self._core.clock.now()
        following = None
        told: list[NewEvent] = []
        with self._core.database.write() as session:
            params = session.scalar(select(Job.params).where(Job.id == self._lease.job_id))
            if params is None:
                raise LeaseLost(self._lease.job_id)
            release = locking.release(session, str(params["release_id"]))
            job = jobs.fenced(session, self._lease)
            # What somebody decided meanwhile goes on as they decided.
            is_seen = self._version in (None, release.version)
            waiting = _waiting(session, release, lock=True) if is_seen else None
            if waiting is not None and found.get("error_key") == UNWELL:
                following = waiting.id
                told = self._take_back(session, release, waiting, found, now)
            elif waiting is not None and word == "failed" and not self._has_failed_before(session, job):
                said = {"error_key": found["error_key"], "summary": found["summary"]}
                told = [timeline.release_event(release, "watch_failed", "warning", **said)]
            jobs.finish(
                job, now, word, {name: found[name] for name in ("error_key", "summary") if name in found}
            )
            events.append(session, self._actor, now, told)
        if following is not None:
            self._core.queue.wake(following)

    def _take_back(
        self, session: Session, release: Release, waiting: Job, found: Mapping[str, Any], now: datetime
    ) -> list[NewEvent]:
        guard.set_status(session, release, "running")
        jobs.resume(waiting, now, waiting.request_id, verb="abort", gate=dict(found))
        said = {"by": "gate", "error_key": found["error_key"], "summary": found["summary"]}
        failed = [timeline.release_event(release, "step_failed", "failed", **one) for one in self._steps]
        return [*failed, timeline.release_event(release, "aborted", "running", **said)]

    def _has_failed_before(self, session: Session, job: Job) -> bool:
        """Was the look before this one in vain, too? Then it is told already."""
        before = session.scalar(
            select(Job)
            .where(
                Job.kind == KIND, Job.resource_id == job.resource_id, Job.state == "done", Job.id != job.id
            )
            .order_by(Job.fencing_token.desc())
            .limit(1)
        )
        return before is not None and before.params == job.params and before.outcome == "failed"

    def _release(self, session: Session) -> Release:
        job = session.get_one(Job, self._lease.job_id)
        return session.get_one(Release, str(job.params["release_id"]))


def _waiting(session: Session, release: Release, lock: bool = False) -> Job | None:
    """Return the job of a canary that waits for people, None when it does not."""
    if release.status != "paused":
        return None
    query = select(Job).where(Job.resource_id == release.id, Job.kind == "apply", Job.state == "paused")
    return session.scalar(query.with_for_update() if lock else query)
