# SPDX-License-Identifier: Apache-2.0
"""The job that makes a network entry, takes it back, or tries out its failover. The cluster itself is not touched."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from controlplane.domain import network_entry as rules
from controlplane.domain.install import TaskState
from controlplane.ports.runner import PlaybookRun, RunOutcome
from controlplane.services import network_entry_check, network_entry_spec, tasks, views
from controlplane.services.network_entries import ENDED, SUBJECT
from controlplane.services.task_job import TaskJob
from controlplane.store import guard
from controlplane.store.events import NewEvent
from controlplane.store.tables import InstallTask, NetworkEntry

PLAYBOOKS = {
    "apply": "network_entry_apply.yml",
    "rollback": "network_entry_rollback.yml",
    "failover_test": "network_entry_failover_test.yml",
}
TIMEOUT_SECONDS = 3600.0


class NetworkEntryJob(TaskJob):
    """See `task_job.TaskJob`."""

    def _run(self, session: Session, task: InstallTask) -> PlaybookRun:
        asked = tasks.requested(self._core, task)
        more = network_entry_spec.for_work(task, self._lease.token)
        extra: dict[str, Any] = {}
        if task.kind == "rollback":
            more |= {"undo": task.undoes, "for_rollback": True}
            extra = {"network_entry_remove": asked["remove"]}
        return network_entry_spec.run(
            self._core, session, self._lease.job_id, PLAYBOOKS[task.kind], task, TIMEOUT_SECONDS, more, extra
        )

    def _on_begun(self, session: Session, task: InstallTask, now: datetime) -> None:
        entry = session.get(NetworkEntry, task.cluster_id, with_for_update=True)
        if task.kind == "apply":
            self._put(session, entry, task, now)
        elif entry is not None and task.kind == "rollback":
            entry.status, entry.is_applied = "rolling_back", False

    def _put(
        self, session: Session, entry: NetworkEntry | None, task: InstallTask, now: datetime
    ) -> NetworkEntry:
        """Say that the entry is what this task makes of it, from the moment on at which hosts are changed."""
        if entry is None:
            entry = NetworkEntry(cluster_id=task.cluster_id, project_id=task.project_id, created_at=now)
            session.add(entry)
        elif entry.task_id != task.id:
            entry.previous_task_id = entry.task_id
        entry.task_id = task.id
        entry.is_applied = False
        entry.status = "applying"
        entry.nodes = list(task.nodes)
        entry.parameters = rules.shown(tasks.requested(self._core, task)["lvs_vip"])
        return entry

    def _on_success(
        self, session: Session, task: InstallTask, outcome: RunOutcome, now: datetime
    ) -> tuple[dict[str, Any], list[NewEvent]]:
        entry = session.get(NetworkEntry, task.cluster_id, with_for_update=True)
        told = [
            event
            for name in self._hosts
            for verb in ("verify", "failover")
            if isinstance(document := outcome.results.get(f"{name}.{verb}"), Mapping)
            for event in self._ended_steps(session, task, ("runner_on_ok", name, document), now)
        ]
        if task.kind == "rollback":
            return self._taken_back(session, entry, task, outcome, now), told
        document = _first(outcome, "verify" if task.kind == "apply" else "failover")
        if entry is not None:
            entry.is_applied = True
            network_entry_check.put(entry, document.get("entry") or {}, now)
        if task.kind == "apply":
            return {"vip_address": (document.get("entry") or {}).get("vip_address"),
                    "active_node": (document.get("entry") or {}).get("active_node")}, told  # fmt: skip
        seen = dict(document.get("failover") or {})
        if entry is not None:
            entry.last_failover = {**seen, "observed_at": views.moment(now), "seen_by": "failover_test"}
        return {**seen, "seen_by": "failover_test"}, told

    def _taken_back(
        self,
        session: Session,
        entry: NetworkEntry | None,
        task: InstallTask,
        outcome: RunOutcome,
        now: datetime,
    ) -> dict[str, Any]:
        """Mark what is undone, and let the entry be what was before; gone where no host has one any more."""
        removed = {
            name: bool((outcome.results.get(f"{name}.rollback") or {}).get("live", {}).get("removed"))
            for name in self._hosts
        }
        is_gone = all(removed.values())
        query = select(InstallTask).where(
            InstallTask.subject == SUBJECT.name,
            InstallTask.cluster_id == task.cluster_id,
            InstallTask.kind == "apply",
            InstallTask.state.in_(ENDED),
        )
        for undone in session.scalars(query if is_gone else query.where(InstallTask.id == task.undoes)):
            guard.move_task(session, undone, TaskState.ROLLED_BACK)
        if entry is not None and is_gone:
            session.delete(entry)
        elif entry is not None:
            self._restore(session, entry, task)
            network_entry_check.queue(session, entry, now)
        return {"removed": is_gone}

    def _restore(self, session: Session, entry: NetworkEntry, task: InstallTask) -> None:
        before = session.get(InstallTask, entry.previous_task_id or "")
        if entry.task_id == task.undoes and before is not None:
            entry.task_id, entry.previous_task_id = before.id, None
            entry.nodes = list(before.nodes)
            entry.parameters = rules.shown(tasks.requested(self._core, before)["lvs_vip"])
        # How it is now is for a check to say, which follows.
        entry.status, entry.is_applied = "unknown", True

    def _on_failure(self, session: Session, task: InstallTask, found: Mapping[str, Any]) -> None:
        entry = session.get(NetworkEntry, task.cluster_id, with_for_update=True)
        if task.kind == "apply":
            entry = self._put(session, entry, task, self._core.clock.now())
        if entry is None or task.kind == "failover_test":
            return
        entry.status = "failed"
        entry.problems = [
            {
                "level": "blocking",
                "code": found["error_key"],
                "reason": f"{task.kind}_failed",
                "host": None,
                "message": found["summary"],
                "hint": next(iter(found.get("hints") or []), ""),
            }
        ]


def _first(outcome: RunOutcome, verb: str) -> Mapping[str, Any]:
    """Return what a verb's results tell of the whole entry: each host's document has it."""
    for name, document in sorted(outcome.results.items()):
        if name.endswith(f".{verb}") and isinstance(document, Mapping):
            return document
    return {}
