# SPDX-License-Identifier: Apache-2.0
"""The job that previews an install: asks each host what it is and what would be done there. Changes no host."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy.orm import Session

from controlplane.domain import checks as blocks
from controlplane.domain import install, step
from controlplane.ports.runner import PlaybookRun, RunEvent
from controlplane.services import install_lineage, install_spec, post_tasks, run_place, tasks
from controlplane.services.core import Core
from controlplane.services.jobs import Lease
from controlplane.services.task_preview_job import PREVIEW_TIMEOUT, Shown, TaskPreviewJob
from controlplane.store.events import NewEvent
from controlplane.store.tables import InstallTask

PLAYBOOK = "environment_preflight.yml"


class InstallPreviewJob(TaskPreviewJob):
    """See `TaskPreviewJob`. A rollback is previewed by the same look, in which the hosts tell what it would undo."""

    ignores_blocking = frozenset({"rollback"})

    def __init__(self, core: Core, lease: Lease) -> None:
        super().__init__(core, lease)
        self._verb = "preflight"
        self._bundle: Mapping[str, Any] = {}

    def _run(self, session: Session, task: InstallTask) -> PlaybookRun:
        asked = tasks.requested(self._core, task)
        place = run_place.of_nodes(self._core, session, install_spec.asked_hosts(task, asked))
        return PlaybookRun(
            job_id=self._lease.job_id,
            playbook=PLAYBOOK,
            hosts=list(place.hosts.values()),
            group=place.group,
            documents={"environment_spec_file": install_spec.of_preview(self._core, session, task)},
            timeout=PREVIEW_TIMEOUT,
        )

    def record(self, batch: Sequence[RunEvent]) -> None:
        """Keep the log, note failures, and what is said of the bundle."""
        super().record(batch)
        for event in batch:
            for _action, told in step.finished(event.kind, event.host, event.data):
                if told["step"] == "bundle_verify" and told["status"] != "failed":
                    self._bundle = told.get("detail", {})

    def _facts(self, task: InstallTask, found: Mapping[str, Any]) -> list[str]:
        return ["deletes"] if task.kind in ("rollback", "removal") else []

    def _show(self, task: InstallTask, found: Mapping[str, Any]) -> Shown:
        if task.kind == "rollback":
            found = {name: {**each, "plan": each.get("undo") or []} for name, each in found.items()}
        document: dict[str, Any] = {
            "hosts": {
                name: {key: each.get(key) for key in ("facts", "plan", "fingerprint")}
                for name, each in sorted(found.items())
            },
            "inputs": next((each["inputs"] for each in found.values() if each.get("inputs")), []),
            "bundle": dict(self._bundle) or None,
            "network_entry": post_tasks.shown(tasks.requested(self._core, task).get("network_entry")),
            "summary": dict(
                Counter(one["action"] for each in found.values() for one in each.get("plan", []))
            ),
        }
        binding = self._binding(task, found)
        columns = {"bundle_digest": binding.bundle_digest}
        return Shown(document, asdict(binding), binding.digest(), columns)

    def _conclude(
        self, session: Session, task: InstallTask, found: Mapping[str, Any], checks: list[dict[str, Any]]
    ) -> NewEvent:
        return super()._conclude(session, task, found, [*checks, *_of_rollback(session, task)])

    def _binding(self, task: InstallTask, found: Mapping[str, Any]) -> install.Binding:
        asked = tasks.requested(self._core, task)
        inputs = json.dumps(asked.get("inputs") or {}, sort_keys=True)
        return install.Binding(
            environment_id=task.environment_id or "",
            stage=task.stage,
            runtime_type=task.runtime_type,
            kind=task.kind,
            undoes=task.undoes,
            nodes=task.nodes,
            runtime_version=asked.get("runtime_version"),
            profile=asked.get("profile"),
            inputs=self._core.vault.digest(inputs.encode()),
            network_entry=self._core.vault.digest(
                json.dumps(asked.get("network_entry"), sort_keys=True).encode()
            ),
            bundle_digest=self._bundle.get("digest"),
            removes=list(asked.get("removes") or []),
            fingerprints={name: str(each["fingerprint"]) for name, each in sorted(found.items())},
        )


def _of_rollback(session: Session, task: InstallTask) -> list[dict[str, Any]]:
    """Return what a rollback says of other installs: those that go with the one it undoes, and the one that stays."""
    if task.undoes is None:
        return []
    undone = session.get_one(InstallTask, task.undoes)
    before = install_lineage.stands_before(session, undone)
    later = [one.id for one in install_lineage.with_later(session, undone)[1:]]
    if before is None:
        said = "the environment began with this install: everything that was installed on its hosts goes"
    else:
        said = f"what install {before.id} made, and those before it, stays"
    found = [
        blocks.warning("rollback", said, "To take the whole environment away, roll its first install back.")
    ]
    if later:
        said = f"with it go the installs that came after it: {', '.join(later)}"
        found.append(
            blocks.warning("rollback", said, "To undo these alone, roll them back first, the newest first.")
        )
    return found
