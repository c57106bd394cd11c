# SPDX-License-Identifier: Apache-2.0
"""The job that previews a rotation of certificates: lists them, and says whether it is needed. Changes no host."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy.orm import Session

from controlplane.domain import certificates as rules
from controlplane.ports.runner import PlaybookRun
from controlplane.services import cert_rotation_spec, cluster_certificates, tasks, views
from controlplane.services.core import Core
from controlplane.services.jobs import Lease
from controlplane.services.task_preview_job import PREVIEW_TIMEOUT, Shown, TaskPreviewJob
from controlplane.store.events import NewEvent
from controlplane.store.tables import Cluster, InstallTask


class CertRotationPreviewJob(TaskPreviewJob):
    """See `TaskPreviewJob`."""

    def __init__(self, core: Core, lease: Lease) -> None:
        super().__init__(core, lease)
        self._verb = cert_rotation_spec.VERB
        self._is_behind_vip = False

    def _run(self, session: Session, task: InstallTask) -> PlaybookRun:
        cluster = session.get_one(Cluster, task.cluster_id)
        self._is_behind_vip = cluster.direct_endpoint is not None
        return cert_rotation_spec.run(
            self._core,
            session,
            self._lease.job_id,
            cert_rotation_spec.LIST,
            cluster,
            task.nodes,
            PREVIEW_TIMEOUT,
            cert_rotation_spec.of_task(self._core, session, task),
        )

    def _checks_of(self, document: Mapping[str, Any]) -> list[dict[str, Any]]:
        return [{**check, "host": document.get("host")} for check in super()._checks_of(document)]

    def _facts(self, task: InstallTask, found: Mapping[str, Any]) -> list[str]:
        # An API server that is the only one, or the one that everybody asks, does not answer while it starts again.
        return [] if len(task.nodes) > 1 and self._is_behind_vip else ["interrupts"]

    def _conclude(
        self,
        session: Session,
        task: InstallTask,
        found: Mapping[str, Any],
        checks: list[dict[str, Any]],
    ) -> NewEvent:
        told = super()._conclude(session, task, found, checks)
        if found:
            # What was seen is what there is: the list need not wait for a look of its own.
            cluster = session.get_one(Cluster, task.cluster_id, with_for_update=True)
            lasting = [one for one in checks if one.get("reason") != "not_needed"]
            now = self._core.clock.now()
            cluster_certificates.put(cluster, rules.rows_of(found), lasting, now, self._hosts)
        return told

    def _show(self, task: InstallTask, found: Mapping[str, Any]) -> Shown:
        days = int(tasks.requested(self._core, task)["within_days"])
        first = rules.first_end(rules.rows_of(found))
        document = {
            "hosts": {
                name: {key: each.get(key) for key in ("certificates", "plan", "fingerprint")}
                for name, each in sorted(found.items())
            },
            "within_days": days,
            "needed": rules.is_needed(first, days, self._core.clock.now()) if found else None,
            "first_expires_at": views.moment(first),
            "summary": dict(
                Counter(one["action"] for each in found.values() for one in each.get("plan") or [])
            ),
        }
        binding = rules.Binding(
            cluster_id=task.cluster_id or "",
            stage=task.stage,
            kind=task.kind,
            nodes=task.nodes,
            within_days=days,
            fingerprints={name: str(each["fingerprint"]) for name, each in sorted(found.items())},
        )
        return Shown(document, asdict(binding), binding.digest())
