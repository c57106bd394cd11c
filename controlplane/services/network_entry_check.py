# SPDX-License-Identifier: Apache-2.0
"""A look at a network entry by schedule, so that what is told of it is true. It changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, or_, select
from sqlalchemy import delete as sql_delete
from sqlalchemy.orm import Session

from controlplane.ports.runner import PlaybookRun, RunEvent, RunOutcome
from controlplane.services import jobs, network_entry_spec, views
from controlplane.services.core import Core
from controlplane.services.jobs import Lease
from controlplane.store import events
from controlplane.store.events import NewEvent
from controlplane.store.tables import Cluster, InstallTask, Job, JobLog, NetworkEntry, Project

KIND = "network_entry_check"
PLAYBOOK = "network_entry_check.yml"
TIMEOUT_SECONDS = 120.0
BATCH = 50


def look_where_due(core: Core) -> int:
    """Queue a look at each entry whose last one was asked for an interval ago; return how many.

    The interval is the setting `network_entry_check_seconds`; 0 looks at nothing by itself.
    """
    interval = core.settings.network_entry_check_seconds
    if not interval:
        return 0
    before = core.clock.now() - timedelta(seconds=interval)
    with core.database.read() as session:
        due = list(session.scalars(_due(before).limit(BATCH)))
    return sum(_look_again(core, cluster_id, before) for cluster_id in due)


def _due(before: datetime) -> Select[str]:
    recent = select(Job.id).where(
        Job.kind == KIND,
        Job.resource_id == NetworkEntry.cluster_id,
        or_(Job.created_at > before, Job.state != "done"),
    )
    return select(NetworkEntry.cluster_id).where(NetworkEntry.is_applied, ~recent.exists())


def _look_again(core: Core, cluster_id: str, before: datetime) -> bool:
    with core.database.write() as session:
        entry = session.get(NetworkEntry, cluster_id, with_for_update=True)
        # Another scheduler may have asked between the look and the lock.
        if entry is None or session.scalar(_due(before).where(NetworkEntry.cluster_id == cluster_id)) is None:
            return False
        job = queue(session, entry, core.clock.now())
    core.queue.wake(job.id)
    return True


def queue(session: Session, entry: NetworkEntry, now: datetime) -> Job:
    """Add a look at an entry, and forget those before the last: there is one a minute.

    The last stays, because fencing tokens go on from the newest that is there.
    """
    done = select(Job.id).where(Job.kind == KIND, Job.resource_id == entry.cluster_id, Job.state == "done")
    old = list(session.scalars(done.order_by(Job.fencing_token.desc()).offset(1)))
    session.execute(sql_delete(JobLog).where(JobLog.job_id.in_(old)))
    session.execute(sql_delete(Job).where(Job.id.in_(old)))
    return jobs.add(
        session, now, kind=KIND, resource=("network_entry", entry.cluster_id), project_id=entry.project_id
    )


def put(entry: NetworkEntry, found: Mapping[str, Any], now: datetime) -> None:
    """Keep what was found of an entry."""
    entry.status = str(found.get("status") or "unknown")
    entry.active_node = found.get("active_node")
    entry.backends = list(found.get("backends") or [])
    entry.problems = list(found.get("problems") or [])
    entry.last_check_at = now


class NetworkEntryCheckJob:
    """See `job_kind.JobKind`. Nothing that it does lasts."""

    def __init__(self, core: Core, lease: Lease) -> None:
        self._core = core
        self._lease = lease
        self._task_id = ""

    def begin(self) -> PlaybookRun | None:
        """Say what to run; nothing where the entry is gone, or is being changed."""
        with self._core.database.read() as session:
            entry = session.get(NetworkEntry, self._lease.resource_id)
            task = session.get(InstallTask, entry.task_id) if entry and entry.is_applied else None
            if entry is not None and task is not None:
                self._task_id = task.id
                not_led = network_entry_spec.not_led(session, entry)
                return network_entry_spec.run(
                    self._core, session, self._lease.job_id, PLAYBOOK, task, TIMEOUT_SECONDS,
                    {"not_led": not_led}, everywhere=False, besides=not_led,
                )  # fmt: skip
        self._finish("cancelled")
        return None

    def record(self, batch: Sequence[RunEvent]) -> None:
        """Keep the log."""
        with self._core.database.write() as session:
            jobs.fenced(session, self._lease)
            jobs.write_logs(session, self._lease, batch)

    def end(self, outcome: RunOutcome) -> PlaybookRun | None:
        """Keep what was found, and tell what is no longer as it was."""
        documents = [one for name, one in sorted(outcome.results.items()) if name.endswith(".status")]
        found: Mapping[str, Any] = next((one["entry"] for one in documents if one.get("entry")), {})
        if not found:
            said = outcome.message or f"the check ended {outcome.status} and told of no host"
            found = {"status": "unknown", "problems": [_unheard(said)]}
        self._finish("succeeded" if found["status"] == "ready" else "failed", found)
        return None

    def _finish(self, outcome: str, found: Mapping[str, Any] | None = None) -> None:
        now = self._core.clock.now()
        with self._core.database.write() as session:
            job = jobs.fenced(session, self._lease)
            entry = session.get(NetworkEntry, self._lease.resource_id, with_for_update=True)
            jobs.finish(job, now, outcome)
            # What was changed meanwhile is not what was looked at.
            if found is None or entry is None or not entry.is_applied or entry.task_id != self._task_id:
                return
            told = _differences(session, entry, found)
            failover = next((one for one in told if one.action == "network_entry.failover_observed"), None)
            if failover is not None:
                entry.last_failover = {**failover.detail, "observed_at": views.moment(now)}
            put(entry, found, now)
            if told:
                events.append(session, self._lease.actor, now, told)

    def refuse(self, error_key: str, detail: str) -> None:
        """End the job: the entry could not be looked at."""
        self._finish("failed", {"status": "unknown", "problems": [{**_unheard(detail), "code": error_key}]})


def _unheard(said: str) -> dict[str, Any]:
    return {
        "level": "blocking",
        "code": "internal_error",
        "reason": "not_checked",
        "host": None,
        "message": said,
        "hint": "Read the log of the check's job.",
    }


def _differences(session: Session, entry: NetworkEntry, found: Mapping[str, Any]) -> list[NewEvent]:
    """Return the events that tell in what an entry is other than when it was last looked at."""
    told = []
    was, now = entry.active_node, found.get("active_node")
    if was and now and was != now:
        # How long it took was not seen.
        seen = {"from": was, "to": now, "outage_ms": None, "seen_by": "check"}
        told.append(_event(session, entry, "failover_observed", "warning", **seen))
    reasons = _reasons(found.get("problems") or [])
    if found["status"] != "ready" and (entry.status, _reasons(entry.problems)) != (found["status"], reasons):
        told.append(degraded(session, entry, found))
    if found["status"] == "ready" and entry.status in ("degraded", "failed", "unknown"):
        told.append(_event(session, entry, "recovered", "success", active_node=now))
    return told


def degraded(session: Session, entry: NetworkEntry, found: Mapping[str, Any]) -> NewEvent:
    """Return the event that tells what is wrong with an entry."""
    status = "warning" if found["status"] == "degraded" else "failed"
    problems = list(found.get("problems") or [])
    return _event(session, entry, "degraded", status, entry_status=found["status"], problems=problems)


def _event(session: Session, entry: NetworkEntry, action: str, status: str, **detail: Any) -> NewEvent:
    cluster = session.get_one(Cluster, entry.cluster_id)
    project = session.get_one(Project, entry.project_id)
    return NewEvent(
        f"network_entry.{action}", "network_entry", entry.cluster_id, status=status, project_id=project.id,
        team_id=project.team_id, environment_id=cluster.environment_id,
        detail={"cluster_id": cluster.id, "cluster": cluster.name, **detail},
    )  # fmt: skip


def _reasons(problems: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    return sorted((str(one.get("reason")), str(one.get("host"))) for one in problems)
