# SPDX-License-Identifier: Apache-2.0
"""The job that makes a network entry, takes it back, or tries out its failover; how the cluster is reached follows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from controlplane.domain import network_entry as rules
from controlplane.domain.diagnostics import Findings, describe
from controlplane.domain.errors import Problem
from controlplane.domain.install import TaskState
from controlplane.ports.runner import PlaybookRun, RunOutcome
from controlplane.services import (
    install_steps,
    jobs,
    network_entry_check,
    network_entry_connection,
    network_entry_spec,
    tasks,
    timeline,
    views,
)
from controlplane.services.network_entries import ENDED, SUBJECT
from controlplane.services.network_entry_connection import Move
from controlplane.services.task_job import TaskJob
from controlplane.store import events, guard, locking
from controlplane.store.events import NewEvent
from controlplane.store.tables import Cluster, InstallTask, NetworkEntry

PLAYBOOKS = {
    "apply": "network_entry_apply.yml",
    "rollback": "network_entry_rollback.yml",
    "failover_test": "network_entry_failover_test.yml",
}
TIMEOUT_SECONDS = 3600.0
# The step that is done here and on no host; and what stands where a host's name stands.
CONNECTION = "connection"
HERE = "tidegate"


class NetworkEntryJob(TaskJob):
    """See `task_job.TaskJob`."""

    def _run(self, session: Session, task: InstallTask) -> PlaybookRun:
        asked = tasks.requested(self._core, task)
        more = network_entry_spec.for_work(self._core, task, self._lease.token)
        extra: dict[str, Any] = {}
        if task.kind == "rollback":
            more |= {"undo": task.undoes, "for_rollback": True, "restores": self._restores(session, task)}
            extra = {"network_entry_remove": asked["remove"]}
        return network_entry_spec.run(
            self._core, session, self._lease.job_id, PLAYBOOKS[task.kind], task, TIMEOUT_SECONDS, more, extra
        )

    def _restores(self, session: Session, task: InstallTask) -> dict[str, Any] | None:
        """Return the VIP that a rollback goes back to; nodes that have no part in the entry cannot know it."""
        before = self._goes_back_to(session, task)
        if before is None:
            return None
        lvs_vip = tasks.requested(self._core, before)["lvs_vip"]
        return {
            "vip": lvs_vip["vip_address"],
            "ports": [lvs_vip["health_check_port"], *lvs_vip["ports"]],
        }

    def _goes_back_to(self, session: Session, task: InstallTask) -> InstallTask | None:
        """Return the apply that is in force after a rollback: the one before, or the one that never was undone."""
        entry = session.get(NetworkEntry, task.cluster_id)
        if entry is None or tasks.requested(self._core, task)["remove"]:
            return None
        found = entry.previous_task_id if entry.task_id == task.undoes else entry.task_id
        return session.get(InstallTask, found or "")

    def _is_planned(self, task: InstallTask, host: str, name: str) -> bool:
        shown = ((task.preview or {}).get("hosts") or {}).get(host) or {}
        entry = shown.get("entry") or {}
        if name == "activate":
            return entry.get("priority") is not None or bool(entry.get("is_backend"))
        if name == network_entry_spec.ENDPOINT:
            return task.kind == "apply" and bool(entry.get("endpoint"))
        return True

    def begin(self) -> PlaybookRun | None:
        """See `TaskJob.begin`. Where the VIP goes, or becomes another, the cluster is reached without it first."""
        run = super().begin()
        if run is not None:
            self._lead_back()
        return run

    def _lead_back(self) -> None:
        with self._core.database.read() as session:
            task = session.get_one(InstallTask, self._lease.resource_id)
        cluster_id, asked = str(task.cluster_id), tasks.requested(self._core, task)
        goes = task.kind == "rollback" or (
            task.kind == "apply"
            and network_entry_connection.leads_elsewhere(self._core, cluster_id, asked["lvs_vip"])
        )
        move = network_entry_connection.directly(self._core, cluster_id) if goes else None
        if move is not None:
            self._put_connection(move)

    def _succeed(self, outcome: RunOutcome) -> None:
        try:
            # It is connected to before a transaction begins.
            move = self._through_vip(outcome)
        except Problem as problem:
            self._tell_step("failed", error_key=problem.error_key, said=problem.detail or "")
            said = f"the VIP answers, and the cluster is not reached through it: {problem.detail}"
            found = describe(Findings(), {}, problem.error_key, said)
            return self._fail({**found, "stage": CONNECTION, "hints": [problem.hint]})
        if move is not None:
            self._put_connection(move)
        return super()._succeed(outcome)

    def _through_vip(self, outcome: RunOutcome) -> Move | None:
        with self._core.database.read() as session:
            task = session.get_one(InstallTask, self._lease.resource_id)
            made: InstallTask | None = task if task.kind == "apply" else None
            if task.kind == "rollback" and not all(self._removed(outcome).values()):
                made = self._goes_back_to(session, task)
        if made is None:
            return None
        lvs_vip = tasks.requested(self._core, made)["lvs_vip"]
        return network_entry_connection.through_vip(self._core, str(task.cluster_id), lvs_vip)

    def _put_connection(self, move: Move) -> None:
        """Keep another way to the cluster, in a transaction of its own: its row comes before the task's in the order
        of locks. What is done twice after a crash changes nothing the second time."""
        now = self._core.clock.now()
        with self._core.database.write() as session:
            task = locking.task(session, self._lease.resource_id)
            jobs.fenced(session, self._lease)
            cluster = session.get_one(Cluster, task.cluster_id)
            was = cluster.endpoint
            told = network_entry_connection.put(self._core, session, cluster, move, task=task.id)
            status = "succeeded" if told else "unchanged"
            step = self._step(session, task, status, now, endpoint=cluster.endpoint, endpoint_before=was)
            events.append(session, self._actor, now, [*told, step])

    def _tell_step(self, status: str, **detail: Any) -> None:
        now = self._core.clock.now()
        with self._core.database.write() as session:
            jobs.fenced(session, self._lease)
            task = session.get_one(InstallTask, self._lease.resource_id)
            events.append(session, self._actor, now, [self._step(session, task, status, now, **detail)])

    def _step(
        self, session: Session, task: InstallTask, status: str, now: datetime, said: str = "", **detail: Any
    ) -> NewEvent:
        told = {
            "host": HERE, "step": CONNECTION, "status": status, "started_at": views.moment(now), "duration_ms": 0,
            "exit_code": None, "stdout_tail": said, "stderr_tail": "", "detail": detail,
        }  # fmt: skip
        install_steps.end(session, task.id, told, now)
        has_failed = status == "failed"
        action = "step_failed" if has_failed else "step_succeeded"
        return timeline.task_event(task, action, "failed" if has_failed else "success", **told)

    def _removed(self, outcome: RunOutcome) -> dict[str, bool]:
        """Say of each host of a rollback whether it has no entry any more."""
        return {
            name: bool((outcome.results.get(f"{name}.rollback") or {}).get("live", {}).get("removed"))
            for name in self._hosts
        }

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
        found, not_led = dict(document.get("entry") or {}), self._not_led(task, outcome)
        if not_led:
            found |= {
                "status": "degraded",
                "problems": [*(found.get("problems") or []), *map(_waits, not_led)],
            }
        if entry is not None:
            entry.is_applied = True
            network_entry_check.put(entry, found, now)
            told += [network_entry_check.degraded(session, entry, found)] if not_led else []
        if task.kind == "apply":
            more = {"not_led": not_led} if not_led else {}
            return {name: found.get(name) for name in ("vip_address", "active_node")} | more, told
        seen = dict(document.get("failover") or {})
        if entry is not None:
            entry.last_failover = {**seen, "observed_at": views.moment(now), "seen_by": "failover_test"}
        return {**seen, "seen_by": "failover_test"}, told

    def _not_led(self, task: InstallTask, outcome: RunOutcome) -> list[str]:
        """Return the nodes that could not be reached, and that an apply went on without."""
        told = {name: outcome.results.get(f"{name}.{network_entry_spec.ENDPOINT}") for name in self._hosts}
        return sorted(
            name for name, one in told.items()
            if task.kind == "apply" and isinstance(one, Mapping) and one.get("not_led")
        )  # fmt: skip

    def _taken_back(
        self,
        session: Session,
        entry: NetworkEntry | None,
        task: InstallTask,
        outcome: RunOutcome,
        now: datetime,
    ) -> dict[str, Any]:
        """Mark what is undone, and let the entry be what was before; gone where no host has one any more."""
        is_gone = all(self._removed(outcome).values())
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


def _waits(host: str) -> dict[str, Any]:
    return {
        "level": "warning",
        "code": "ssh_unreachable",
        "reason": "node_not_led",
        "host": host,
        "message": f"{host} could not be reached, and does not find its control plane at the VIP yet",
        "hint": "It works on without the VIP. When it answers, apply the entry again: nothing else is changed.",
    }


def _first(outcome: RunOutcome, verb: str) -> Mapping[str, Any]:
    """Return what a verb's results tell of the whole entry: each host's document has it."""
    for name, document in sorted(outcome.results.items()):
        if name.endswith(f".{verb}") and isinstance(document, Mapping):
            return document
    return {}
