# SPDX-License-Identifier: Apache-2.0
"""The job that does a task on its hosts, step by step, and says how it ended: what all kinds of tasks share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from controlplane.domain import step
from controlplane.domain.diagnostics import Findings, describe
from controlplane.domain.errors import ERRORS
from controlplane.domain.install import TaskState
from controlplane.ports.runner import PlaybookRun, RunEvent, RunHost, RunOutcome
from controlplane.services import connection, install_steps, jobs, timeline
from controlplane.services.core import Core
from controlplane.services.jobs import Lease
from controlplane.store import events, guard
from controlplane.store.events import NewEvent
from controlplane.store.tables import InstallTask


class TaskJob:
    """See `job_kind.JobKind`. A run that is taken up again goes on: what is done on a host is found done.

    What a task is about says what is run (`_run`) and what becomes of its owner (`_on_begun`, `_on_success`,
    `_on_failure`, each in the transaction that moves the task).
    """

    def __init__(self, core: Core, lease: Lease) -> None:
        self._core = core
        self._lease = lease
        self._actor = lease.actor
        self._findings = Findings()
        self._hosts: Mapping[str, RunHost] = {}
        self._told: set[tuple[str | None, str, str]] = set()
        self._said: list[tuple[str, str]] = []
        self._rows_more = 0

    def _run(self, session: Session, task: InstallTask) -> PlaybookRun:
        raise NotImplementedError

    def _is_planned(self, task: InstallTask, host: str, name: str) -> bool:
        """Say whether a step that is begun on a host is one of its own."""
        return True

    def _on_begun(self, session: Session, task: InstallTask, now: datetime) -> None:
        raise NotImplementedError

    def _on_success(
        self, session: Session, task: InstallTask, outcome: RunOutcome, now: datetime
    ) -> tuple[dict[str, Any], list[NewEvent]]:
        """Return what the event of the success tells beside its duration, and the events that come before it."""
        raise NotImplementedError

    def _on_failure(self, session: Session, task: InstallTask, found: Mapping[str, Any]) -> None:
        raise NotImplementedError

    def begin(self) -> PlaybookRun | None:
        """Move the task to `running` and say what to run: what was previewed, held to what was seen then."""
        with self._core.database.read() as session:
            run = self._run(session, session.get_one(InstallTask, self._lease.resource_id))
        self._hosts = {host.name: host for host in run.hosts}
        with self._core.database.write() as session:
            job = jobs.fenced(session, self._lease)
            task = session.get_one(InstallTask, self._lease.resource_id)
            return run if self._mark_begun(session, job, task) else None

    def _mark_begun(self, session: Session, job: Any, task: InstallTask) -> bool:
        now = self._core.clock.now()
        if task.status in ("queued", "waiting_lock"):
            guard.move_task(
                session, task, TaskState.RUNNING, started_at=task.started_at or now, finished_at=None
            )
            action = "started"
        elif task.state == TaskState.RUNNING:
            action = "resumed"
        else:
            jobs.finish(job, now, "cancelled")
            return False
        self._on_begun(session, task, now)
        told = timeline.task_event(task, action, "running", attempt=self._lease.attempt)
        events.append(session, self._actor, now, [told])
        return True

    def record(self, batch: Sequence[RunEvent]) -> None:
        """Write logs, steps and their events of a batch in one transaction; note what failed."""
        for event in batch:
            self._findings.note(event.host, event.data, failed=event.failed, unreachable=event.unreachable)
        with self._core.database.write() as session:
            jobs.fenced(session, self._lease)
            task = session.get_one(InstallTask, self._lease.resource_id)
            now = self._core.clock.now()
            told: list[NewEvent] = []
            rows: list[RunEvent] = []
            for event in batch:
                told += self._steps(session, task, event, now)
                rows += self._log_rows(event)
            jobs.write_logs(session, self._lease, rows)
            events.append(session, self._actor, now, told)

    def _log_rows(self, event: RunEvent) -> list[RunEvent]:
        """Return an event for the log, and after it what programs of its steps said: the numbers go on."""
        rows = [replace(event, counter=event.counter + self._rows_more)]
        for host, text in self._said:
            self._rows_more += 1
            counter = event.counter + self._rows_more
            row = replace(event, counter=counter, kind="verbose", host=host, stdout=text)
            rows.append(replace(row, changed=False, failed=False, unreachable=False))
        self._said = []
        return rows

    def _steps(self, session: Session, task: InstallTask, event: RunEvent, now: datetime) -> list[NewEvent]:
        found = []
        starting = step.installing(event.kind, event.action, event.host)
        if starting is not None and not self._is_planned(task, starting["host"], starting["step"]):
            starting = None
        starting = starting or step.beginning(event.kind, event.host, event.data)
        if starting is not None:
            install_steps.begin(session, task.id, starting["host"], starting["step"], now)
            found.append(timeline.task_event(task, "step_started", "running", **starting))
        return found + self._ended_steps(session, task, (event.kind, event.host, event.data), now)

    def _ended_steps(
        self,
        session: Session,
        task: InstallTask,
        result: tuple[str, str | None, Mapping[str, Any] | None],
        now: datetime,
    ) -> list[NewEvent]:
        found = []
        for action, detail in step.finished(*result):
            # Each result repeats the steps before it.
            known = (result[1], detail["step"], str(detail["started_at"]))
            if known in self._told:
                continue
            self._told.add(known)
            log = (detail.get("detail") or {}).pop("log", None)
            if isinstance(log, str):
                self._said += [(str(detail["host"]), row) for row in step.said(log)]
            install_steps.end(session, task.id, detail, now)
            status = "failed" if action == "step_failed" else "success"
            found.append(timeline.task_event(task, action, status, **detail))
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
        now = self._core.clock.now()
        with self._core.database.write() as session:
            job = jobs.fenced(session, self._lease)
            task = session.get_one(InstallTask, self._lease.resource_id)
            guard.move_task(session, task, TaskState.SUCCEEDED, finished_at=now)
            detail, more = self._on_success(session, task, outcome, now)
            jobs.finish(job, now, "succeeded")
            told = timeline.task_event(task, "succeeded", "success", duration_s=_seconds(task), **detail)
            events.append(session, self._actor, now, [*more, told])

    def _fail(self, found: Mapping[str, Any]) -> None:
        now = self._core.clock.now()
        with self._core.database.write() as session:
            job = jobs.fenced(session, self._lease)
            task = session.get_one(InstallTask, self._lease.resource_id)
            if task.state == TaskState.PENDING:
                # It could not even begin; the states still follow one another, in one transaction.
                guard.move_task(session, task, TaskState.RUNNING, started_at=task.started_at or now)
            guard.move_task(session, task, TaskState.FAILED, finished_at=now, diagnostics=dict(found))
            install_steps.break_off(session, task.id, str(found["error_key"]), now)
            self._on_failure(session, task, found)
            is_cancel = found["failure_domain"] == "cancelled"
            jobs.finish(job, now, "cancelled" if is_cancel else "failed", {"error_key": found["error_key"]})
            told = timeline.task_event(
                task, "failed", "failed", error_key=found["error_key"], summary=found["summary"],
                failure_domain=found["failure_domain"], duration_s=_seconds(task),
            )  # fmt: skip
            events.append(session, self._actor, now, [told])


def _seconds(task: InstallTask) -> float | None:
    if task.started_at is None or task.finished_at is None:
        return None
    return round((task.finished_at - task.started_at).total_seconds(), 3)
