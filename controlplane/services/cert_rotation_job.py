# SPDX-License-Identifier: Apache-2.0
"""The job that rotates the certificates of a cluster's control planes, and lets Tidegate in by the new ones."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from controlplane.domain import certificates as rules
from controlplane.domain.diagnostics import Findings, describe
from controlplane.domain.errors import Problem
from controlplane.domain.install import find_cluster
from controlplane.ports.runner import PlaybookRun, RunOutcome
from controlplane.services import cert_rotation_spec, cluster_certificates, cluster_change, views
from controlplane.services.cluster_change import Change
from controlplane.services.core import Core
from controlplane.services.jobs import Lease
from controlplane.services.task_job import TaskJob
from controlplane.store.events import NewEvent
from controlplane.store.tables import Cluster, InstallTask

TIMEOUT_SECONDS = 2 * 3600.0
# How often a connection is prepared anew because somebody changed it meanwhile.
TRIES = 3


class CertRotationJob(TaskJob):
    """See `task_job.TaskJob`."""

    def __init__(self, core: Core, lease: Lease) -> None:
        super().__init__(core, lease)
        self._cluster_id = ""
        self._change: Change | None = None

    def _run(self, session: Session, task: InstallTask) -> PlaybookRun:
        self._cluster_id = task.cluster_id or ""
        more = cert_rotation_spec.of_task(self._core, session, task)
        more |= cert_rotation_spec.for_work(task, self._lease.token)
        return cert_rotation_spec.run(
            self._core,
            session,
            self._lease.job_id,
            cert_rotation_spec.ROTATE,
            session.get_one(Cluster, task.cluster_id),
            task.nodes,
            TIMEOUT_SECONDS,
            more,
        )

    def _on_begun(self, session: Session, task: InstallTask, now: datetime) -> None:
        """The cluster serves on: what is known of it stays as it is."""

    def _succeed(self, outcome: RunOutcome) -> None:
        told = find_cluster(outcome.results) or {}
        failure: Problem | None = None
        for _try in range(TRIES):
            try:
                # It is connected to, and its targets are looked at, before the transaction begins.
                self._change = cluster_change.renewed(self._core, self._cluster_id, told)
                return super()._succeed(outcome)
            except Problem as problem:
                failure = problem
                if problem.error_key != "conflict":
                    break
                # Somebody changed the connection between the look and the transaction: what is kept now counts.
        assert failure is not None
        said = (
            f"the certificates were rotated, and Tidegate does not get in by the new ones: {failure.detail}"
        )
        found = describe(Findings(), {}, failure.error_key, said)
        return self._fail({**found, "hints": [failure.hint]})

    def _on_success(
        self, session: Session, task: InstallTask, outcome: RunOutcome, now: datetime
    ) -> tuple[dict[str, Any], list[NewEvent]]:
        cluster = session.get_one(Cluster, task.cluster_id, with_for_update=True)
        documents = {
            name: document
            for name in self._hosts
            if isinstance(document := outcome.results.get(f"{name}.{cert_rotation_spec.VERB}"), Mapping)
        }
        cluster_certificates.put(cluster, rules.rows_of(documents), [], now, self._hosts)
        detail = {"first_expires_at": views.moment(cluster.certificates_expire_at)}
        if self._change is None:
            return detail, []
        told, failing = cluster_change.write(self._core, session, cluster, self._change)
        return {**detail, "targets_failing": [one["name"] for one in failing]}, told

    def _on_failure(self, session: Session, task: InstallTask, found: Mapping[str, Any]) -> None:
        """The cluster serves on by what it has; which certificates those are, the next look tells."""
        cluster = session.get_one(Cluster, task.cluster_id, with_for_update=True)
        cluster.certificates_checked_at = None
