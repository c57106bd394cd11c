# SPDX-License-Identifier: Apache-2.0
"""The job that installs an environment, or takes away what an install made, and says how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from controlplane.domain.diagnostics import Findings, describe
from controlplane.domain.errors import Problem
from controlplane.domain.install import TaskState, find_cluster, hosts_begun, is_planned
from controlplane.ports.runner import PlaybookRun, RunOutcome
from controlplane.services import (
    cluster_members,
    install_lineage,
    install_spec,
    managed_clusters,
    post_tasks,
    run_place,
    tasks,
)
from controlplane.services.core import Core
from controlplane.services.jobs import Lease
from controlplane.services.managed_clusters import Prepared
from controlplane.services.task_job import TaskJob
from controlplane.store import guard
from controlplane.store.events import NewEvent
from controlplane.store.tables import Environment, EnvironmentNode, InstallStep, InstallTask

PLAYBOOKS = {
    "install": "environment_install.yml",
    "rollback": "environment_rollback.yml",
    "removal": "environment_remove_nodes.yml",
}
TIMEOUT_SECONDS = 4 * 3600.0


class InstallJob(TaskJob):
    """See `task_job.TaskJob`."""

    def __init__(self, core: Core, lease: Lease) -> None:
        super().__init__(core, lease)
        self._kind = "install"
        self._environment_id: str | None = None
        self._cluster: Prepared | None = None

    def _run(self, session: Session, task: InstallTask) -> PlaybookRun:
        self._kind, self._environment_id = task.kind, task.environment_id
        asked = tasks.requested(self._core, task)
        place = run_place.of_nodes(self._core, session, install_spec.asked_hosts(task, asked))
        return PlaybookRun(
            job_id=self._lease.job_id,
            playbook=PLAYBOOKS[task.kind],
            hosts=list(place.hosts.values()),
            group=place.group,
            documents={
                "environment_spec_file": install_spec.of_run(self._core, session, task, self._lease.token)
            },
            timeout=TIMEOUT_SECONDS,
        )

    def _is_planned(self, task: InstallTask, host: str, name: str) -> bool:
        shown = ((task.preview or {}).get("hosts") or {}).get(host) or {}
        return is_planned(shown.get("plan"), name)

    def _on_begun(self, session: Session, task: InstallTask, now: datetime) -> None:
        # Without one of its workers an environment is what it was.
        if task.kind != "removal":
            session.get_one(Environment, task.environment_id or "").status = "installing"

    def _succeed(self, outcome: RunOutcome) -> None:
        cluster = find_cluster(outcome.results) if self._kind == "install" else None
        try:
            # It is connected to before the transaction begins.
            if cluster:
                self._cluster = managed_clusters.prepare(self._core, self._environment_id, cluster)
        except Problem as problem:
            found = describe(Findings(), {}, problem.error_key, f"the cluster was made: {problem.detail}")
            return self._fail({**found, "hints": [problem.hint]})
        return super()._succeed(outcome)

    def _on_success(
        self, session: Session, task: InstallTask, outcome: RunOutcome, now: datetime
    ) -> tuple[dict[str, Any], list[NewEvent]]:
        if task.kind == "removal":
            _forget_nodes(session, task)
            return {}, []
        environment = session.get_one(Environment, task.environment_id or "")
        if task.undoes is not None:
            is_left = _undo(session, task.undoes)
            environment.status = "ready" if is_left else "draft"
            return {}, [] if is_left else managed_clusters.take_away(session, task, now)
        environment.status = "ready"
        if self._cluster is None:
            return {}, []
        cluster, told = managed_clusters.keep(self._core, session, task, self._cluster, now)
        return {}, [told, *post_tasks.follow(self._core, session, task, cluster)]

    def _on_failure(self, session: Session, task: InstallTask, found: Mapping[str, Any]) -> None:
        if task.kind != "removal":
            environment = session.get_one(Environment, task.environment_id or "")
            environment.status = "failed" if _has_begun(session, task) else _left_as(session, task)
        if task.kind == "rollback":
            managed_clusters.doubt(session, task, self._core.clock.now())


def _has_begun(session: Session, task: InstallTask) -> bool:
    """Say whether a task did more on its hosts than to look."""
    steps = select(InstallStep.host, InstallStep.step).where(InstallStep.task_id == task.id)
    return bool(hosts_begun((host, step) for host, step in session.execute(steps)))


def _left_as(session: Session, task: InstallTask) -> str:
    """Return the status that the tasks before this one left the environment in: this one touched nothing."""
    others = select(InstallTask).where(
        InstallTask.environment_id == task.environment_id,
        InstallTask.kind.in_(("install", "rollback")),
        InstallTask.id != task.id,
        InstallTask.started_at.is_not(None),
    )
    for other in session.scalars(others.order_by(InstallTask.started_at.desc(), InstallTask.id.desc())):
        if other.state == TaskState.FAILED and _has_begun(session, other):
            return "failed"
        # What was rolled back says so itself.
        if other.state == TaskState.SUCCEEDED and other.kind == "install":
            return "ready"
    return "draft"


def _undo(session: Session, task_id: str) -> bool:
    """Mark an install, and those that stood on it, as rolled back; say whether one before it still stands."""
    undone = session.get_one(InstallTask, task_id, with_for_update=True)
    for one in install_lineage.with_later(session, undone):
        guard.move_task(session, one, TaskState.ROLLED_BACK)
    return install_lineage.stands_before(session, undone) is not None


def _forget_nodes(session: Session, task: InstallTask) -> None:
    """The hosts that left are no nodes of the environment any more."""
    session.execute(
        delete(EnvironmentNode).where(
            EnvironmentNode.environment_id == task.environment_id,
            EnvironmentNode.host_id.in_(cluster_members.removed_by(task)),
        )
    )
