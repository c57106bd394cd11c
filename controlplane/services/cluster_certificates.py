# SPDX-License-Identifier: Apache-2.0
"""The certificates of a cluster's control planes as they were last seen, and looks at them: asked for, or daily."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, or_, select
from sqlalchemy.orm import Session

from controlplane.domain import certificates as rules
from controlplane.domain import checks as blocks
from controlplane.domain.cluster import GONE
from controlplane.domain.permission import Actor, Permission
from controlplane.ports.runner import PlaybookRun, RunOutcome
from controlplane.services import access, cert_rotation_spec, cert_rotations, jobs, views
from controlplane.services.core import Core
from controlplane.services.look import Look
from controlplane.store import events
from controlplane.store.events import NewEvent
from controlplane.store.tables import Cluster, Job, Project

KIND = "cluster_certificates"
TIMEOUT_SECONDS = 300.0
BATCH = 20


def show(core: Core, actor: Actor, cluster_id: str) -> dict[str, Any]:
    """Return each host's certificates as they were last seen, with the days that they have left now.

    Raises:
        Problem: `cluster_not_found`, `permission_denied`.
    """
    cluster, _project = cert_rotations.SUBJECT.readable(core, actor, cluster_id)
    assert isinstance(cluster, Cluster)
    now = core.clock.now()
    first = cluster.certificates_expire_at
    return {
        "cluster_id": cluster.id,
        "cluster": cluster.name,
        "mode": cluster.mode,
        "status": cluster.status,
        "checked_at": views.moment(cluster.certificates_checked_at),
        "first_expires_at": views.moment(first),
        "days_left": None if first is None else rules.days_left({"expires_at": first.isoformat()}, now),
        "hosts": rules.at(cluster.certificates.get("hosts") or {}, now),
        "problems": cluster.certificates.get("problems") or [],
    }


def request_check(core: Core, actor: Actor, cluster_id: str) -> dict[str, Any]:
    """Queue a look at the control planes and return the job.

    Raises:
        Problem: `cluster_not_found`, `permission_denied`, `conflict` (Tidegate did not make it, or it is gone).
    """
    cluster, project = cert_rotations.SUBJECT.readable(core, actor, cluster_id)
    assert isinstance(cluster, Cluster)
    access.require(core, actor, Permission.CLUSTER_READ, project, about=("cluster", cluster_id))
    with core.database.read() as session:
        cert_rotations.require_planes(session, cluster)
    with core.database.write() as session:
        job = _queue(session, cluster, core.clock.now(), actor.request_id)
    core.queue.wake(job.id)
    return views.job(job)


def look_where_due(core: Core) -> int:
    """Queue a look at each cluster that Tidegate made and whose last one was asked for an interval ago, or never;
    return how many.

    The interval is the setting `cluster_certificates_check_seconds`; 0 looks at nothing by itself.
    """
    interval = core.settings.cluster_certificates_check_seconds
    if not interval:
        return 0
    before = core.clock.now() - timedelta(seconds=interval)
    with core.database.read() as session:
        due = list(session.scalars(_due(before).limit(BATCH)))
    return sum(_look_again(core, cluster_id, before) for cluster_id in due)


def _due(before: datetime) -> Select[str]:
    recent = select(Job.id).where(
        Job.kind == KIND, Job.resource_id == Cluster.id, or_(Job.created_at > before, Job.state != "done")
    )
    return select(Cluster.id).where(
        Cluster.environment_id.is_not(None), Cluster.status != GONE, ~recent.exists()
    )


def _look_again(core: Core, cluster_id: str, before: datetime) -> bool:
    with core.database.write() as session:
        cluster = session.get(Cluster, cluster_id, with_for_update=True)
        # Another scheduler may have asked between the look and the lock.
        if cluster is None or session.scalar(_due(before).where(Cluster.id == cluster_id)) is None:
            return False
        job = _queue(session, cluster, core.clock.now(), None)
    core.queue.wake(job.id)
    return True


def _queue(session: Session, cluster: Cluster, now: datetime, request_id: str | None) -> Job:
    return jobs.add(
        session, now, kind=KIND, resource=("cluster", cluster.id), project_id=cluster.project_id,
        request_id=request_id,
    )  # fmt: skip


def put(
    cluster: Cluster,
    hosts: Mapping[str, list[dict[str, Any]]],
    problems: Sequence[Mapping[str, Any]],
    now: datetime,
    nodes: Iterable[str],
) -> None:
    """Keep what was seen. A host of the cluster that was not seen keeps what was known of it."""
    before = cluster.certificates.get("hosts") or {}
    known = {name: hosts.get(name, before.get(name, [])) for name in nodes}
    cluster.certificates = {"hosts": known, "problems": [dict(one) for one in problems]}
    cluster.certificates_expire_at = rules.first_end(known)
    cluster.certificates_checked_at = now


class ClusterCertificatesJob(Look):
    """See `job_kind.JobKind`. Nothing that it does lasts on a host."""

    def begin(self) -> PlaybookRun | None:
        """Say what to run; nothing where the cluster is gone."""
        with self._core.database.read() as session:
            cluster = session.get(Cluster, self._lease.resource_id)
            nodes = cert_rotations.planes(session, cluster) if cluster else []
            if cluster is None or not nodes or cluster.status == GONE:
                run = None
            else:
                more = {"certificates": {"within_days": rules.WITHIN_DAYS}}
                run = cert_rotation_spec.run(
                    self._core, session, self._lease.job_id, cert_rotation_spec.LIST, cluster, nodes,
                    TIMEOUT_SECONDS, more,
                )  # fmt: skip
        if run is None:
            self._finish("cancelled")
            return None
        self._hosts = {host.name: host for host in run.hosts}
        return run

    def end(self, outcome: RunOutcome) -> PlaybookRun | None:
        """Keep what was seen, and warn where a certificate ends soon."""
        reached = self._unreached()
        found = {
            name: document
            for name in self._hosts
            if isinstance(document := outcome.results.get(f"{name}.{cert_rotation_spec.VERB}"), Mapping)
        }
        problems = [
            {**check, "host": name}
            for name, document in found.items()
            for check in document.get("checks") or []
            if check.get("reason") != "not_needed"
        ]
        problems += blocks.of_findings(self._findings, reached)
        silent = set(self._hosts) - set(found) - {one.get("host") for one in problems}
        problems += [
            blocks.blocking("internal_error", outcome.message or "nothing was heard of it", name)
            for name in sorted(silent)
        ]
        is_whole = set(found) == set(self._hosts)
        self._finish("succeeded" if is_whole else "failed", found, problems)
        return None

    def refuse(self, error_key: str, detail: str) -> None:
        """End the job; what was known stays, with the reason why nothing newer is."""
        self._finish("failed", {}, [blocks.blocking(error_key, detail, None)])

    def _finish(
        self,
        outcome: str,
        found: Mapping[str, Any] | None = None,
        problems: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        now = self._core.clock.now()
        with self._core.database.write() as session:
            cluster = session.get(Cluster, self._lease.resource_id, with_for_update=True)
            job = jobs.fenced(session, self._lease)
            jobs.finish(job, now, outcome)
            if found is None or cluster is None or cluster.status == GONE:
                return
            nodes = [node["name"] for node in cert_rotations.planes(session, cluster)]
            put(cluster, rules.rows_of(found), problems, now, nodes)
            told = _expiring(session, cluster, now)
            if told:
                events.append(session, self._lease.actor, now, told)


def _expiring(session: Session, cluster: Cluster, now: datetime) -> list[NewEvent]:
    first = cluster.certificates_expire_at
    if first is None or not rules.is_needed(first, rules.WITHIN_DAYS, now):
        return []
    project = session.get_one(Project, cluster.project_id)
    detail = {
        "name": cluster.name,
        "first_expires_at": views.moment(first),
        "days_left": rules.days_left({"expires_at": first.isoformat()}, now),
    }
    return [
        NewEvent(
            "cluster.certificates_expiring", "cluster", cluster.id, status="warning", project_id=project.id,
            team_id=project.team_id, environment_id=cluster.environment_id, detail=detail,
        )
    ]  # fmt: skip
