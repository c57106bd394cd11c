# SPDX-License-Identifier: Apache-2.0
"""The job that applies a release (or goes on with, or back from, a paused one) and says how it ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from controlplane.domain import run_time, step
from controlplane.domain.diagnostics import Findings, describe
from controlplane.domain.errors import ERRORS, Problem
from controlplane.domain.release import State, read_state
from controlplane.ports.runner import PlaybookRun, RunEvent, RunHost, RunOutcome
from controlplane.services import (
    approvals,
    connection,
    jobs,
    release_spec,
    retirement,
    run_place,
    target_status,
    timeline,
)
from controlplane.services.core import Core
from controlplane.services.jobs import Lease
from controlplane.services.run_place import RunPlace
from controlplane.store import events, guard
from controlplane.store.events import NewEvent
from controlplane.store.tables import Job, Release, Target

PLAYBOOKS = {
    "apply": "release_apply.yml",
    "rollback": "release_rollback.yml",
    "promote": "release_promote.yml",
    "abort": "release_abort.yml",
}
CANCEL = "release_cancel.yml"
CANCEL_TIMEOUT = 60.0


class ApplyJob:
    """See `job_kind.JobKind`."""

    def __init__(self, core: Core, lease: Lease) -> None:
        self._core = core
        self._lease = lease
        self._actor = lease.actor
        self._findings = Findings()
        self._place = RunPlace("release_hosts", {})
        self._hosts: Mapping[str, RunHost] = {}
        self._spec: dict[str, Any] = {}
        self._begun: set[tuple[str | None, str]] = set()
        self._is_ending = False
        self._has_paused = False
        self._has_changed = False
        self._kept_until: datetime | None = None
        self._verb = "apply"
        self._cancelled: RunOutcome | None = None
        # Why it is taken back, where the look at a canary that waited found it not well.
        self._gate: dict[str, Any] | None = None

    def begin(self) -> PlaybookRun | None:
        """Move the release to `applying` and say what to run: what was approved, byte for byte."""
        with self._core.database.read() as session:
            release = session.get_one(Release, self._lease.resource_id)
            target = session.get_one(Target, release.target_id)
            self._place = run_place.of_target(self._core, session, target)
            self._hosts = self._place.hosts
            is_elsewhere = release_spec.previewed_place(self._core, release) != self._place.identity
            self._spec = release_spec.apply_spec(self._core, session, release, self._lease.token)
        with self._core.database.write() as session:
            job = jobs.fenced(session, self._lease)
            release = session.get_one(Release, self._lease.resource_id)
            self._verb = str(job.params.get("verb") or release.action)
            self._gate = job.params.get("gate")
            begun = jobs.mark_begun(job, self._lease.token)
            # Whether that run came to change anything is seen by its token, wherever that was kept.
            self._spec |= {"taken_up": begun is not None, "begun_token": begun}
            if not self._mark_begun(session, job, release):
                return None
        if is_elsewhere:
            self._end_elsewhere()
            return None
        return self._run(PLAYBOOKS[self._verb], self._timeout())

    def _mark_begun(self, session: Session, job: Job, release: Release) -> bool:
        now = self._core.clock.now()
        if release.state == State.APPROVED:
            guard.move_release(session, release, State.APPLYING, "running", started_at=now)
            told = timeline.release_event(release, "applying", "running", attempt=self._lease.attempt)
        elif release.state == State.APPLYING:
            told = timeline.release_event(release, "resumed", "running", attempt=self._lease.attempt)
            if release.status == "paused":
                guard.set_status(session, release, "running")
        else:
            jobs.finish(job, now, "cancelled")
            return False
        events.append(session, self._actor, now, [told])
        return True

    def _end_elsewhere(self) -> None:
        """End it: what leads to its target leads to another place than when it was previewed."""
        said = [f"{name}: leads to another cluster or namespace now" for name in self._hosts]
        if self._verb in ("apply", "rollback") and self._lease.attempt <= 1:
            self._expire(said)
            return
        found = describe(Findings(), {}, "preview_stale", "; ".join(said))
        self._fail({**found, "stage": "compare", "hints": [ERRORS["preview_stale"].hint]})

    def _timeout(self) -> float:
        """As long as the modules may take for it, so that they say what went wrong before the run is ended."""
        params, health = self._spec["strategy_params"], float(self._spec["health_timeout"])
        if self._spec.get("runtime_type") == "k8s":
            return run_time.in_cluster(self._spec["strategy"], params, health)
        return run_time.on_hosts(
            self._spec["strategy"],
            params,
            hosts=len(self._hosts),
            images=len(self._spec["resolved_images"]),
            archive_bytes=sum(image["archive_bytes"] for image in self._spec["images"]),
            health_timeout=health,
        )

    def _run(self, playbook: str, timeout: float) -> PlaybookRun:
        return PlaybookRun(
            job_id=self._lease.job_id,
            playbook=playbook,
            hosts=list(self._hosts.values()),
            group=self._place.group,
            documents={"release_spec_file": self._spec, **self._place.documents},
            secret_env=release_spec.secret_env(self._core),
            timeout=timeout,
        )

    def record(self, batch: Sequence[RunEvent]) -> None:
        """Write logs and steps of a batch in one transaction; note what failed."""
        told: list[tuple[str, str, dict[str, Any]]] = []
        is_verifying = False
        is_decidable = None
        for event in batch:
            if not self._is_ending:
                self._note(event)
            starting = step.started(event.kind, event.action, event.host)
            # A project whose images are not there is begun again once they are: that is one step, not two.
            if starting is not None and (event.host, starting["step"]) not in self._begun:
                self._begun.add((event.host, starting["step"]))
                told.append(("step_started", "running", starting))
                is_verifying = is_verifying or starting["step"] in step.VERIFYING
            waiting = step.progress(event.kind, event.host, event.data)
            if waiting is not None:
                told.append(("step_progress", "running", waiting))
                is_verifying = True
            is_now = step.decidable(event.kind, event.data)
            is_decidable = is_decidable if is_now is None else is_now
            for action, detail in step.finished(event.kind, event.host, event.data):
                self._begun.discard((event.host, detail["step"]))
                told.append((action, "failed" if action == "step_failed" else "success", detail))
        with self._core.database.write() as session:
            jobs.fenced(session, self._lease)
            # A log row is numbered by the run's counter; the ending run has a numbering of its own.
            if not self._is_ending:
                jobs.write_logs(session, self._lease, batch)
            release = session.get_one(Release, self._lease.resource_id)
            if is_verifying and release.status == "running":
                guard.set_status(session, release, "verifying")
            if is_decidable and release.status == "verifying":
                guard.set_status(session, release, "paused")
                told.append(("paused", "running", {"watched": True}))
            elif is_decidable is False and release.status == "paused":
                guard.set_status(session, release, "verifying")
            now = self._core.clock.now()
            rows = [
                timeline.release_event(release, action, status, **detail) for action, status, detail in told
            ]
            events.append(session, self._actor, now, rows)

    def _note(self, event: RunEvent) -> None:
        self._findings.note(event.host, event.data, failed=event.failed, unreachable=event.unreachable)
        if event.data is not None:
            self._has_paused = self._has_paused or event.data.get("paused") is True
            self._has_changed = self._has_changed or event.changed or event.data.get("changed") is True
            self._kept_until = retirement.kept_until(event.data) or self._kept_until

    def end(self, outcome: RunOutcome) -> PlaybookRun | None:
        """Say how it ended. A cancelled or overlong run is followed by one that ends the remote work.

        One that was ended because somebody decided is followed by the decision, as another run of the same job.
        """
        if not self._is_ending and outcome.status == "canceled" and self._decide():
            return None
        if not self._is_ending and outcome.status in ("canceled", "timeout"):
            self._is_ending = True
            self._cancelled = outcome
            return self._run(CANCEL, CANCEL_TIMEOUT)
        if self._cancelled is not None:
            self._fail_ended(self._cancelled, outcome)
        elif self._findings.moved() is not None and not self._has_changed:
            self._expire(self._findings.moved() or [])
        elif outcome.status == "successful" and self._verb == "abort":
            self._fail(_taken_back(self._gate))
        elif outcome.status == "successful" and self._has_paused:
            self._pause()
        elif outcome.status == "successful":
            self._succeed(self._live(outcome))
        else:
            self._fail(self._diagnose(outcome))
        return None

    def _decide(self) -> bool:
        now = self._core.clock.now()
        with self._core.database.write() as session:
            job = jobs.fenced(session, self._lease)
            verb = jobs.decision(job)
            if verb is None:
                return False
            release = session.get_one(Release, self._lease.resource_id)
            if release.status == "paused":
                guard.set_status(session, release, "running")
            jobs.resume(job, now, job.request_id, verb=verb)
        return True

    def refuse(self, error_key: str, detail: str) -> None:
        """End the release as failed: it could not be run."""
        domain = "lost" if error_key == "worker_lost" else "internal"
        found = describe(Findings(), {}, error_key, detail)
        self._fail({**found, "failure_domain": domain, "hints": [ERRORS[error_key].hint]})

    def _diagnose(self, outcome: RunOutcome) -> dict[str, Any]:
        reached = connection.explain(self._core, self._hosts, self._findings.unreachable)
        found = describe(
            self._findings,
            reached,
            "internal_error",
            outcome.message or "the playbook failed without saying why",
        )
        if not found["hints"]:
            found["hints"] = [ERRORS.get(found["error_key"], ERRORS["internal_error"]).hint]
        return found

    def _live(self, outcome: RunOutcome) -> dict[str, Mapping[str, Any]] | None:
        """Return what the run found running on each host as it ended, None when it does not know of every one."""
        found = {}
        for name in self._hosts:
            # Who waited for health saw it last.
            told = [outcome.results.get(f"{name}.{verb}") for verb in ("verify", "apply")]
            live = [one["live"] for one in told if isinstance(one, Mapping) and one.get("live")]
            if not live:
                return None
            found[name] = live[0]
        return found

    def _succeed(self, live: Mapping[str, Mapping[str, Any]] | None) -> None:
        now = self._core.clock.now()
        look = None
        missed = self._diagnose_missed()
        with self._core.database.write() as session:
            job = jobs.fenced(session, self._lease)
            release = session.get_one(Release, self._lease.resource_id)
            guard.move_release(
                session, release, State.APPLIED, verified_at=now, finished_at=now, diagnostics=missed,
                kept_until=self._kept_until,
            )  # fmt: skip
            retirement.forget_earlier(session, release)
            jobs.finish(job, now, "succeeded")
            status = "warning" if missed else "success"
            told = [
                timeline.release_event(
                    release, "applied", status, changed=self._has_changed, duration_s=_seconds(release)
                )
            ]
            told += self._undo(session, release)
            if self._has_changed:
                told += self._void_others(session, release)
            if live is None:
                look = self._look_after(session, release, now)
            else:
                target_status.note(session, release, self._spec["project"], live, now)
            events.append(session, self._actor, now, told)
        if look is not None:
            self._core.queue.wake(look)

    def _look_after(self, session: Session, release: Release, now: datetime) -> str:
        """Queue a look at what is there now, and return its job."""
        return target_status.look_after(session, release, now, self._lease.request_id).id

    def _diagnose_missed(self) -> dict[str, Any] | None:
        """Say which hosts failed within the failure budget, None when none did."""
        if not self._findings.failures and not self._findings.unreachable:
            return None
        return self._diagnose(RunOutcome("successful", 0, {}))

    def _undo(self, session: Session, release: Release) -> list[NewEvent]:
        undone = (
            session.get(Release, release.rollback_of, with_for_update=True) if release.rollback_of else None
        )
        if undone is None:
            return []
        told = [
            timeline.release_event(release, "rollback_completed", undone=undone.id),
            timeline.release_event(undone, "rollback_completed", rollback=release.id),
        ]
        if read_state(undone.state) in (State.APPLIED, State.FAILED):
            guard.move_release(session, undone, State.ROLLBACK, rolled_back_by=release.id)
        return told

    def _void_others(self, session: Session, release: Release) -> list[NewEvent]:
        """End what waits for approval of a preview that this release made stale."""
        told: list[NewEvent] = []
        waiting = session.scalars(
            select(Release)
            .where(
                Release.target_id == release.target_id,
                Release.service_id == release.service_id,
                Release.state == State.PENDING_APPROVAL,
                Release.id != release.id,
            )
            .order_by(Release.id)
            .with_for_update()
            .execution_options(populate_existing=True)
        )
        now = self._core.clock.now()
        for other in list(waiting):
            guard.move_release(session, other, State.EXPIRED, finished_at=now)
            moved = [f"release {release.id}"]
            told.append(
                timeline.release_event(other, "expired", "warning", error_key="preview_stale", moved=moved)
            )
            told += approvals.void(session, self._actor, other, "preview_stale", now)
        return told

    def _pause(self) -> None:
        now = self._core.clock.now()
        with self._core.database.write() as session:
            job = jobs.fenced(session, self._lease)
            release = session.get_one(Release, self._lease.resource_id)
            if job.cancel_requested_at is not None:
                # The word came when the run was over already: nothing is left to end, so it is taken back.
                verb = jobs.decision(job) or "abort"
                job.cancel_requested_at = None
                jobs.resume(job, now, job.request_id, verb=verb)
                return
            guard.set_status(session, release, "paused")
            jobs.pause(job)
            events.append(session, self._actor, now, [timeline.release_event(release, "paused", "running")])

    def _expire(self, moved: list[str]) -> None:
        now = self._core.clock.now()
        problem = Problem("preview_stale")
        found = {
            **describe(Findings(), {}, "preview_stale", f"{problem.detail}: {', '.join(moved)}"),
            "stage": "compare",
            "failure_domain": "policy",
            "hints": [problem.hint],
        }
        with self._core.database.write() as session:
            job = jobs.fenced(session, self._lease)
            release = session.get_one(Release, self._lease.resource_id)
            guard.move_release(session, release, State.EXPIRED, finished_at=now, diagnostics=found)
            jobs.finish(job, now, "failed", {"error_key": "preview_stale"})
            told = [
                timeline.release_event(release, "expired", "warning", error_key="preview_stale", moved=moved)
            ]
            events.append(session, self._actor, now, told)

    def _fail_ended(self, cancelled: RunOutcome, ending: RunOutcome) -> None:
        """Tell of a run that was ended, and whether the work on the hosts ended with it."""
        left = [name for name in self._hosts if not _has_ended(ending.results.get(f"{name}.cancel"))]
        word = ("timeout", "timeout", "it took too long") if cancelled.status == "timeout" else (
            "cancelled", "cancelled", "it was cancelled",
        )  # fmt: skip
        said = "the work on every host has ended"
        if left:
            said = f"whether the work ended on {', '.join(left)} is not known"
        found = _ended(word[0], word[1], f"{word[2]}; {said}")
        found["hosts"] = [
            {"host": name, "step": "cancel", "exit_code": None, "stdout_tail": "", "stderr_tail": said}
            for name in left
        ]
        self._fail(found)

    def _fail(self, found: Mapping[str, Any]) -> None:
        now = self._core.clock.now()
        with self._core.database.write() as session:
            job = jobs.fenced(session, self._lease)
            release = session.get_one(Release, self._lease.resource_id)
            if release.state == State.APPROVED:
                # It could not even begin; the lifecycle still goes through `applying`, in one transaction.
                guard.move_release(session, release, State.APPLYING, "preparing", started_at=now)
            guard.move_release(session, release, State.FAILED, finished_at=now, diagnostics=dict(found))
            is_cancel = found["failure_domain"] == "cancelled"
            jobs.finish(job, now, "cancelled" if is_cancel else "failed", {"error_key": found["error_key"]})
            told = [
                timeline.release_event(
                    release, "failed", "failed", error_key=found["error_key"], summary=found["summary"],
                    failure_domain=found["failure_domain"], duration_s=_seconds(release),
                )
            ]  # fmt: skip
            undone = session.get(Release, release.rollback_of) if release.rollback_of else None
            if undone is not None:
                told.append(timeline.release_event(release, "rollback_failed", "failed", undone=undone.id))
                told.append(timeline.release_event(undone, "rollback_failed", "failed", rollback=release.id))
            look = self._look_after(session, release, now)
            events.append(session, self._actor, now, told)
        self._core.queue.wake(look)


def _ended(error_key: str, domain: str, said: str) -> dict[str, Any]:
    found = describe(Findings(), {}, error_key, said)
    return {**found, "failure_domain": domain, "hints": [ERRORS[error_key].hint]}


def _taken_back(gate: Mapping[str, Any] | None) -> dict[str, Any]:
    """Say why a canary was taken back: because somebody decided so, or because it was found not well as it waited."""
    said = "it was taken back; what ran before runs again"
    if gate is None:
        return _ended("cancelled", "cancelled", said)
    return {**gate, "summary": f"{gate['summary']}; {said}"}


def _has_ended(result: object) -> bool:
    return isinstance(result, Mapping) and result.get("ended") is True


def _seconds(release: Release) -> float | None:
    if release.started_at is None or release.finished_at is None:
        return None
    return round((release.finished_at - release.started_at).total_seconds(), 3)
