# SPDX-License-Identifier: Apache-2.0
"""The job that installs an environment, or takes away what an install made, and says how it ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from controlplane.domain import step
from controlplane.domain.diagnostics import Findings, describe
from controlplane.domain.errors import ERRORS, Problem
from controlplane.domain.install import TaskState, find_cluster
from controlplane.domain.permission import system_actor
from controlplane.ports.runner import PlaybookRun, RunEvent, RunHost, RunOutcome
from controlplane.services import (
    connection,
    install_spec,
    install_steps,
    jobs,
    managed_clusters,
    run_place,
    timeline,
)
from controlplane.services.core import Core
from controlplane.services.jobs import Lease
from controlplane.store import events, guard
from controlplane.store.events import NewEvent
from controlplane.store.tables import Environment, InstallTask

PLAYBOOKS = {"install": "environment_install.yml", "rollback": "environment_rollback.yml"}
TIMEOUT_SECONDS = 4 * 3600.0


class InstallJob:
    """See `job_kind.JobKind`. A run that is taken up again goes on: what is done on a host is found done."""

    def __init__(self, core: Core, lease: Lease) -> None:
        self._core = core
        self._lease = lease
        self._actor = system_actor("worker")
        self._findings = Findings()
        self._hosts: Mapping[str, RunHost] = {}
        self._kind = "install"
        self._told: set[tuple[str | None, str, str]] = set()

    def begin(self) -> PlaybookRun | None:
        """Move the task to `running` and say what to run: what was previewed, held to what was seen then."""
        with self._core.database.read() as session:
            task = session.get_one(InstallTask, self._lease.resource_id)
            self._kind = task.kind
            place = run_place.of_nodes(self._core, session, task.nodes)
            spec = install_spec.of_run(self._core, session, task, self._lease.token)
        self._hosts = place.hosts
        with self._core.database.write() as session:
            job = jobs.fenced(session, self._lease)
            task = session.get_one(InstallTask, self._lease.resource_id, with_for_update=True)
            if not self._mark_begun(session, job, task):
                return None
        return PlaybookRun(
            job_id=self._lease.job_id,
            playbook=PLAYBOOKS[self._kind],
            hosts=list(place.hosts.values()),
            group=place.group,
            documents={"environment_spec_file": spec},
            timeout=TIMEOUT_SECONDS,
        )

    def _mark_begun(self, session: Session, job: Any, task: InstallTask) -> bool:
        now = self._core.clock.now()
        if task.status in ("queued", "waiting_lock"):
            guard.move_task(
                session, task, TaskState.RUNNING, started_at=task.started_at or now, finished_at=None
            )
            told = self._event(task, "started", "running", attempt=self._lease.attempt)
        elif task.state == TaskState.RUNNING:
            told = timeline.install_event(task, "resumed", "running", attempt=self._lease.attempt)
        else:
            jobs.finish(job, now, "cancelled")
            return False
        session.get_one(Environment, task.environment_id).status = "installing"
        events.append(session, self._actor, now, [told])
        return True

    def record(self, batch: Sequence[RunEvent]) -> None:
        """Write logs, steps and their events of a batch in one transaction; note what failed."""
        for event in batch:
            self._findings.note(event.host, event.data, failed=event.failed, unreachable=event.unreachable)
        with self._core.database.write() as session:
            jobs.fenced(session, self._lease)
            jobs.write_logs(session, self._lease, batch)
            task = session.get_one(InstallTask, self._lease.resource_id)
            now = self._core.clock.now()
            told = [told for event in batch for told in self._steps(session, task, event, now)]
            events.append(session, self._actor, now, told)

    def _steps(self, session: Session, task: InstallTask, event: RunEvent, now: datetime) -> list[NewEvent]:
        found = []
        starting = step.installing(event.kind, event.action, event.host)
        if starting is not None:
            install_steps.begin(session, task.id, starting["host"], starting["step"], now)
            found.append(timeline.install_event(task, "step_started", "running", **starting))
        for action, detail in step.finished(event.kind, event.host, event.data):
            # Each result repeats the steps before it.
            known = (event.host, detail["step"], str(detail["started_at"]))
            if known in self._told:
                continue
            self._told.add(known)
            install_steps.end(session, task.id, detail, now)
            found.append(
                timeline.install_event(
                    task, action, "failed" if action == "step_failed" else "success", **detail
                )
            )
        return found

    def end(self, outcome: RunOutcome) -> PlaybookRun | None:
        """Say how it ended."""
        if outcome.status == "successful":
            self._succeed(outcome)
        elif outcome.status in ("canceled", "timeout"):
            word = "cancelled" if outcome.status == "canceled" else "timeout"
            said = "it was cancelled" if word == "cancelled" else "it took too long"
            found = describe(Findings(), {}, word, f"{said}; what was done on the hosts stays as it is")
            self._fail({**found, "failure_domain": word, "hints": ["Retry the task, or roll it back."]})
        else:
            self._fail(self._diagnose(outcome))
        return None

    def refuse(self, error_key: str, detail: str) -> None:
        """End the task as failed: it could not be run."""
        found = describe(Findings(), {}, error_key, detail)
        domain = "lost" if error_key == "worker_lost" else found["failure_domain"]
        self._fail({**found, "failure_domain": domain, "hints": [ERRORS[error_key].hint]})

    def _diagnose(self, outcome: RunOutcome) -> dict[str, Any]:
        reached = connection.explain(self._core, self._hosts, self._findings.unreachable)
        said = outcome.message or "the playbook failed without saying why"
        found = describe(self._findings, reached, "internal_error", said)
        if not found["hints"]:
            found["hints"] = [ERRORS.get(found["error_key"], ERRORS["internal_error"]).hint]
        return found

    def _succeed(self, outcome: RunOutcome) -> None:
        cluster = find_cluster(outcome.results) if self._kind == "install" else None
        try:
            stored = managed_clusters.prepare(self._core, cluster) if cluster else None
        except Problem as problem:
            found = describe(Findings(), {}, problem.error_key, f"the cluster was made: {problem.detail}")
            return self._fail({**found, "hints": [problem.hint]})
        now = self._core.clock.now()
        with self._core.database.write() as session:
            job = jobs.fenced(session, self._lease)
            task = session.get_one(InstallTask, self._lease.resource_id, with_for_update=True)
            environment = session.get_one(Environment, task.environment_id, with_for_update=True)
            guard.move_task(session, task, TaskState.SUCCEEDED, finished_at=now)
            environment.status = "ready" if self._kind == "install" else "draft"
            told = [self._event(task, "succeeded", duration_s=_seconds(task))]
            if stored is not None:
                told.append(managed_clusters.keep(self._core, session, task, stored, now))
            if task.undoes is not None:
                undone = session.get_one(InstallTask, task.undoes, with_for_update=True)
                guard.move_task(session, undone, TaskState.ROLLED_BACK)
            jobs.finish(job, now, "succeeded")
            events.append(session, self._actor, now, told)
        return None

    def _fail(self, found: Mapping[str, Any]) -> None:
        now = self._core.clock.now()
        with self._core.database.write() as session:
            job = jobs.fenced(session, self._lease)
            task = session.get_one(InstallTask, self._lease.resource_id, with_for_update=True)
            if task.state == TaskState.PENDING:
                # It could not even begin; the states still follow one another, in one transaction.
                guard.move_task(session, task, TaskState.RUNNING, started_at=task.started_at or now)
            guard.move_task(session, task, TaskState.FAILED, finished_at=now, diagnostics=dict(found))
            install_steps.break_off(session, task.id, str(found["error_key"]), now)
            session.get_one(Environment, task.environment_id).status = "failed"
            is_cancel = found["failure_domain"] == "cancelled"
            jobs.finish(job, now, "cancelled" if is_cancel else "failed", {"error_key": found["error_key"]})
            told = self._event(
                task, "failed", "failed", error_key=found["error_key"], summary=found["summary"],
                failure_domain=found["failure_domain"], duration_s=_seconds(task),
            )  # fmt: skip
            events.append(session, self._actor, now, [told])

    def _event(self, task: InstallTask, action: str, status: str = "success", **detail: Any) -> NewEvent:
        return timeline.install_event(
            task, f"rollback_{action}" if self._kind == "rollback" else action, status, **detail
        )


def _seconds(task: InstallTask) -> float | None:
    if task.started_at is None or task.finished_at is None:
        return None
    return round((task.finished_at - task.started_at).total_seconds(), 3)
