# SPDX-License-Identifier: Apache-2.0
"""The job that previews a task: asks each host what it is and what would be done there. Changes no host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar

from sqlalchemy.orm import Session

from controlplane.domain import checks as blocks
from controlplane.domain import install, preview
from controlplane.domain.identifier import new_id
from controlplane.ports.runner import PlaybookRun, RunOutcome
from controlplane.services import jobs, policy, timeline
from controlplane.services.core import Core
from controlplane.services.jobs import Lease
from controlplane.services.look import Look
from controlplane.store import events, guard
from controlplane.store.tables import InstallTask, Project

PREVIEW_TIMEOUT = 600.0


@dataclass(frozen=True)
class Shown:
    """What a kind of task makes of what its hosts said.

    `document` is its part of the preview; `binding` what an apply is held to and `digest` its SHA-256, over which
    the preview's reference is given; `columns` are further columns of the task.
    """

    document: Mapping[str, Any]
    binding: Mapping[str, Any]
    digest: str
    columns: Mapping[str, Any] = field(default_factory=dict)


class TaskPreviewJob(Look):
    """See `job_kind.JobKind`. What a task is about says what is run (`_run`), in which results the hosts answer
    (`_verb`), which risks there are (`_facts`), and what is shown and bound (`_show`)."""

    ignores_blocking: ClassVar[frozenset[str]] = frozenset()
    """Kinds of tasks against which no check stands once every host has answered, but those that are called so."""

    def __init__(self, core: Core, lease: Lease) -> None:
        super().__init__(core, lease)
        self._actor = lease.actor
        self._verb = "preview"
        # Hosts that cannot be reached, and without which the task goes on.
        self._without: set[str] = set()

    def _run(self, session: Session, task: InstallTask) -> PlaybookRun:
        raise NotImplementedError

    def _facts(self, task: InstallTask, found: Mapping[str, Any]) -> list[str]:
        raise NotImplementedError

    def _show(self, task: InstallTask, found: Mapping[str, Any]) -> Shown:
        raise NotImplementedError

    def _checks_of(self, document: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the checks that a host's answer has in it."""
        return [dict(check) for check in document.get("checks", [])]

    def begin(self) -> PlaybookRun | None:
        """Say what to run."""
        with self._core.database.write() as session:
            job = jobs.fenced(session, self._lease)
            task = session.get_one(InstallTask, self._lease.resource_id)
            if task.status != "previewing":
                jobs.finish(job, self._core.clock.now(), "cancelled")
                return None
        with self._core.database.read() as session:
            run = self._run(session, session.get_one(InstallTask, self._lease.resource_id))
        self._hosts = {host.name: host for host in run.hosts}
        return run

    def end(self, outcome: RunOutcome) -> PlaybookRun | None:
        """Bind what was found, or say which checks stand against it."""
        reached = self._unreached()
        found = {
            name: document
            for name in self._hosts
            if isinstance(document := outcome.results.get(f"{name}.{self._verb}"), Mapping)
            and self._is_answer(document)
        }
        absent = {
            name: document
            for name in set(self._hosts) - set(found)
            if isinstance(document := outcome.results.get(f"{name}.{self._verb}"), Mapping)
            and self._goes_on_without(document)
        }
        self._without = set(absent)
        checks = self._checks(outcome, found | absent, reached)
        with self._core.database.write() as session:
            job = jobs.fenced(session, self._lease)
            task = session.get_one(InstallTask, self._lease.resource_id)
            now = self._core.clock.now()
            if task.status != "previewing":
                # It was taken back while its hosts were looked at.
                jobs.finish(job, now, "cancelled")
                return None
            told = self._conclude(session, task, found, checks)
            jobs.finish(job, now, "succeeded" if task.preview_ref else "failed")
            events.append(session, self._actor, now, [told])
        return None

    def _is_answer(self, document: Mapping[str, Any]) -> bool:
        return bool(document.get("fingerprint"))

    def _goes_on_without(self, document: Mapping[str, Any]) -> bool:
        """Say whether a document tells that its host cannot be reached, and that the task can do without it."""
        return False

    def refuse(self, error_key: str, detail: str) -> None:
        """Show the reason as a blocking check."""
        with self._core.database.write() as session:
            job = jobs.fenced(session, self._lease)
            task = session.get_one(InstallTask, self._lease.resource_id)
            now = self._core.clock.now()
            if task.status != "previewing":
                jobs.finish(job, now, "cancelled")
                return
            jobs.finish(job, now, "failed", {"error_key": error_key})
            told = self._conclude(session, task, {}, [blocks.blocking(error_key, detail, None)])
            events.append(session, self._actor, now, [told])

    def _checks(
        self, outcome: RunOutcome, found: Mapping[str, Any], reached: Mapping[str, tuple[str, str]]
    ) -> list[dict[str, Any]]:
        checks = [check for document in found.values() for check in self._checks_of(document)]
        checks += blocks.of_findings(self._findings, reached)
        missing = set(self._hosts) - set(found) - {check.get("host") for check in checks}
        if not preview.blocking(checks) and (missing or outcome.status != "successful"):
            said = outcome.message or f"nothing came from {', '.join(sorted(missing)) or 'the hosts'}"
            checks.append(
                blocks.blocking("timeout" if outcome.status == "timeout" else "internal_error", said, None)
            )
        return checks

    def _conclude(
        self,
        session: Session,
        task: InstallTask,
        found: Mapping[str, Any],
        checks: list[dict[str, Any]],
    ) -> events.NewEvent:
        now = self._core.clock.now()
        project = session.get_one(Project, task.project_id)
        facts = self._facts(task, found)
        action = install.policy_action(task.subject, task.kind)
        asked, risk, reasons = policy.ask(self._core, project, task.stage, action, facts)
        shown = self._show(task, found)
        document: dict[str, Any] = {
            **shown.document,
            "checks": checks,
            "risk_facts": facts,
            "risk_level": str(risk),
            "risk_reasons": reasons,
            "approval": {
                "required": asked.needs_approval,
                "permission": str(asked.permission),
                "min_approvals": asked.min_approvals,
            },
        }
        expires = now + timedelta(seconds=self._core.settings.preview_ttl_seconds)
        # What stands in the way of an install is no reason to keep what an earlier one left.
        against = preview.blocking(checks)
        if task.kind in self.ignores_blocking and found:
            against = [check for check in against if check.get("check") == task.kind]
        if against or {*found, *self._without} != set(self._hosts) or not found:
            guard.set_task_status(
                session, task, "preview_failed", preview=document, preview_expires_at=expires
            )
            keys = sorted({str(check.get("code")) for check in preview.blocking(checks)})
            return timeline.task_event(task, "preview_failed", "failed", codes=keys)
        document["binding"] = dict(shown.binding)
        guard.set_task_status(
            session,
            task,
            "previewed",
            preview=document,
            preview_ref=new_id("pvw"),
            preview_digest=shown.digest,
            preview_expires_at=expires,
            **shown.columns,
        )
        return timeline.task_event(
            task, "previewed", digest=task.preview_digest, summary=document["summary"], risk=str(risk)
        )
