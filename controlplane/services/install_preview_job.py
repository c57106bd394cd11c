# SPDX-License-Identifier: Apache-2.0
"""The job that previews an install: asks each host what it is and what would be done there. Changes no host."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

from controlplane.domain import checks as blocks
from controlplane.domain import install, preview, step
from controlplane.domain.diagnostics import Findings
from controlplane.domain.identifier import new_id
from controlplane.domain.permission import system_actor
from controlplane.ports.runner import PlaybookRun, RunEvent, RunHost, RunOutcome
from controlplane.services import connection, install_spec, jobs, policy, run_place, timeline
from controlplane.services.core import Core
from controlplane.services.jobs import Lease
from controlplane.store import events, guard
from controlplane.store.tables import InstallTask, Project

PREVIEW_TIMEOUT = 600.0
PLAYBOOK = "environment_preflight.yml"


class InstallPreviewJob:
    """See `job_kind.JobKind`. A rollback is previewed by the same look: what is there is what would be taken away."""

    def __init__(self, core: Core, lease: Lease) -> None:
        self._core = core
        self._lease = lease
        self._actor = system_actor("worker")
        self._findings = Findings()
        self._hosts: Mapping[str, RunHost] = {}
        self._bundle: Mapping[str, Any] = {}

    def begin(self) -> PlaybookRun | None:
        """Say what to run."""
        with self._core.database.write() as session:
            job = jobs.fenced(session, self._lease)
            task = session.get_one(InstallTask, self._lease.resource_id)
            if task.status != "previewing":
                jobs.finish(job, self._core.clock.now(), "cancelled")
                return None
        with self._core.database.read() as session:
            task = session.get_one(InstallTask, self._lease.resource_id)
            place = run_place.of_nodes(self._core, session, task.nodes)
            spec = install_spec.of_preview(self._core, session, task)
        self._hosts = place.hosts
        return PlaybookRun(
            job_id=self._lease.job_id,
            playbook=PLAYBOOK,
            hosts=list(place.hosts.values()),
            group=place.group,
            documents={"environment_spec_file": spec},
            timeout=PREVIEW_TIMEOUT,
        )

    def record(self, batch: Sequence[RunEvent]) -> None:
        """Keep the log, note failures, and what is said of the bundle."""
        with self._core.database.write() as session:
            jobs.fenced(session, self._lease)
            jobs.write_logs(session, self._lease, batch)
        for event in batch:
            self._findings.note(event.host, event.data, failed=event.failed, unreachable=event.unreachable)
            for _action, told in step.finished(event.kind, event.host, event.data):
                if told["step"] == "bundle_verify" and told["status"] != "failed":
                    self._bundle = told.get("detail", {})

    def end(self, outcome: RunOutcome) -> PlaybookRun | None:
        """Bind what was found, or say which checks stand against it."""
        reached = connection.explain(self._core, self._hosts, self._findings.unreachable)
        found = {
            name: document
            for name in self._hosts
            if isinstance(document := outcome.results.get(f"{name}.preflight"), Mapping)
            and document.get("fingerprint")
        }
        checks = self._checks(outcome, found, reached)
        with self._core.database.write() as session:
            job = jobs.fenced(session, self._lease)
            task = session.get_one(InstallTask, self._lease.resource_id, with_for_update=True)
            told = self._conclude(session, task, found, checks)
            now = self._core.clock.now()
            jobs.finish(job, now, "succeeded" if task.preview_ref else "failed")
            events.append(session, self._actor, now, [told])
        return None

    def refuse(self, error_key: str, detail: str) -> None:
        """Show the reason as a blocking check."""
        with self._core.database.write() as session:
            job = jobs.fenced(session, self._lease)
            task = session.get_one(InstallTask, self._lease.resource_id, with_for_update=True)
            now = self._core.clock.now()
            jobs.finish(job, now, "failed", {"error_key": error_key})
            told = self._conclude(session, task, {}, [blocks.blocking(error_key, detail, None)])
            events.append(session, self._actor, now, [told])

    def _checks(
        self, outcome: RunOutcome, found: Mapping[str, Any], reached: Mapping[str, tuple[str, str]]
    ) -> list[dict[str, Any]]:
        checks = [dict(check) for document in found.values() for check in document.get("checks", [])]
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
        if task.kind == "rollback":
            found = {
                name: {**each, "plan": install.undo_plan(each.get("plan", []))}
                for name, each in found.items()
            }
        facts = ["deletes"] if task.kind == "rollback" else []
        action = "rollback" if task.kind == "rollback" else "install"
        asked, risk, reasons = policy.ask(self._core, project, task.stage, action, facts)
        document: dict[str, Any] = {
            "hosts": {
                name: {key: each.get(key) for key in ("facts", "plan", "fingerprint")}
                for name, each in sorted(found.items())
            },
            "inputs": next((each["inputs"] for each in found.values() if each.get("inputs")), []),
            "bundle": dict(self._bundle) or None,
            "checks": checks,
            "summary": dict(
                Counter(one["action"] for each in found.values() for one in each.get("plan", []))
            ),
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
        against = [] if task.kind == "rollback" and found else preview.blocking(checks)
        if against or set(found) != set(self._hosts) or not found:
            guard.set_task_status(
                session, task, "preview_failed", preview=document, preview_expires_at=expires
            )
            keys = sorted({str(check.get("code")) for check in preview.blocking(checks)})
            return timeline.install_event(task, "preview_failed", "failed", codes=keys)
        binding = self._binding(task, found)
        document["binding"] = asdict(binding)
        guard.set_task_status(
            session,
            task,
            "previewed",
            preview=document,
            preview_ref=new_id("pvw"),
            preview_digest=binding.digest(),
            preview_expires_at=expires,
            bundle_digest=binding.bundle_digest,
        )
        return timeline.install_event(
            task, "previewed", digest=task.preview_digest, summary=document["summary"], risk=str(risk)
        )

    def _binding(self, task: InstallTask, found: Mapping[str, Any]) -> install.Binding:
        asked = install_spec.requested(self._core, task)
        inputs = json.dumps(asked.get("inputs") or {}, sort_keys=True)
        return install.Binding(
            environment_id=task.environment_id,
            stage=task.stage,
            runtime_type=task.runtime_type,
            kind=task.kind,
            undoes=task.undoes,
            nodes=task.nodes,
            runtime_version=asked.get("runtime_version"),
            profile=asked.get("profile"),
            inputs=self._core.vault.digest(inputs.encode()),
            bundle_digest=self._bundle.get("digest"),
            fingerprints={name: str(each["fingerprint"]) for name, each in sorted(found.items())},
        )
