# SPDX-License-Identifier: Apache-2.0
"""Clusters that an install made: their kubeconfig is tried and kept, and releases can use it at once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from controlplane.domain.cluster import GONE
from controlplane.domain.errors import Problem
from controlplane.domain.identifier import new_id
from controlplane.services import cluster_change, cluster_connection, views
from controlplane.services.cluster_connection import Tried
from controlplane.services.core import Core
from controlplane.store.events import NewEvent
from controlplane.store.tables import Cluster, InstallTask, Project


@dataclass(frozen=True)
class Prepared:
    """A connection that was tried, what its test found, and what each target has over it, by id."""

    tried: Tried
    report: Mapping[str, Any]
    targets: Mapping[str, dict[str, Any]]


def prepare(core: Core, environment_id: str | None, document: Mapping[str, Any]) -> Prepared:
    """Connect with what an install told of the cluster it made: `kubeconfig`, a text or a document. Targets that are
    on it, because it was there before, are looked at again.

    Raises:
        Problem: what is wrong with it, as when a cluster is imported.
    """
    given = document.get("kubeconfig")
    text = given if isinstance(given, str) else json.dumps(given)
    tried = cluster_connection.try_out(core, cluster_connection.parse(core, {"kubeconfig": text}))
    report = cluster_connection.report_on(core, tried, None)
    with core.database.read() as session:
        known = _of(session, environment_id)
        targets = cluster_change.targets_of(session, known.id) if known else []
    return Prepared(tried, report, cluster_change.review(core, tried, targets))


def keep(
    core: Core, session: Session, task: InstallTask, prepared: Prepared, now: datetime
) -> tuple[Cluster, NewEvent]:
    """Keep the cluster of an environment, or how it is reached from now on; return it and the event that tells it."""
    cluster = _of(session, task.environment_id)
    is_new = cluster is None
    if cluster is None:
        cluster = Cluster(
            id=new_id("cls"),
            project_id=task.project_id,
            name=_free_name(session, task),
            mode="platform_managed",
            environment_id=task.environment_id,
            version=0,
            created_by=task.created_by,
            created_at=now,
        )
    cluster_connection.put(core, cluster, prepared.tried, prepared.report)
    if cluster.endpoint == cluster.direct_endpoint:
        cluster.direct_endpoint = None
    cluster.version += 1
    session.add(cluster)
    session.flush()
    cluster_change.mark(session, cluster.id, prepared.targets)
    told = NewEvent(
        "cluster.created" if is_new else "cluster.connection_test_succeeded",
        "cluster",
        cluster.id,
        project_id=task.project_id,
        team_id=task.team_id,
        environment_id=task.environment_id,
        detail={
            "name": cluster.name,
            "endpoint": cluster.endpoint,
            "server_version": cluster.server_version,
            "task": task.id,
        },
    )
    return cluster, told


def take_away(session: Session, task: InstallTask, now: datetime) -> list[NewEvent]:
    """Say of the cluster of an environment that was rolled back, and of its targets, that it is gone. It is kept until
    somebody deletes it, or the environment is installed again."""
    said = "it was taken away with its environment"
    cluster = _of(session, task.environment_id)
    if cluster is None:
        return []
    cluster.status = GONE
    cluster.last_check = {**_lost(cluster, said), "task": task.id}
    cluster.last_checked_at = now
    cluster.certificates, cluster.certificates_expire_at = {}, None
    cluster.version += 1
    access = {"ok": False, "error_key": "cluster_unreachable", "detail": said, "lacking": []}
    access |= {"checked_at": views.moment(now), "namespace_exists": None, "warning": None}
    on_it = cluster_change.targets_of(session, cluster.id)
    failing = cluster_change.mark(session, cluster.id, {one.id: access for one in on_it})
    project = session.get_one(Project, cluster.project_id)
    told = NewEvent(
        "cluster.gone", "cluster", cluster.id, status="warning", project_id=project.id,
        team_id=project.team_id, environment_id=task.environment_id,
        detail={"name": cluster.name, "task": task.id, "targets_failing": [one["name"] for one in failing]},
    )  # fmt: skip
    return [told, *cluster_change.marked(cluster, project, failing)]


def doubt(session: Session, task: InstallTask, now: datetime) -> None:
    """Say of the cluster of an environment whose rollback failed that nobody knows what is left of it."""
    cluster = _of(session, task.environment_id)
    if cluster is None or cluster.status == GONE:
        return
    cluster.status = "failed"
    said = "a rollback of its environment did not end well: what is left of it is not known"
    cluster.last_check = {**_lost(cluster, said), "task": task.id}
    cluster.last_checked_at = now


def _lost(cluster: Cluster, said: str) -> dict[str, Any]:
    return cluster_connection.report_of(Problem("cluster_unreachable", said), cluster)


def _of(session: Session, environment_id: str | None) -> Cluster | None:
    return session.scalar(select(Cluster).where(Cluster.environment_id == environment_id))


def _free_name(session: Session, task: InstallTask) -> str:
    """Return the environment's name, or it with the end of its id where a cluster is called so already."""
    name = (task.environment_name or "")[:63]
    taken = session.scalar(
        select(Cluster.id).where(Cluster.project_id == task.project_id, Cluster.name == name)
    )
    return f"{name[:56]}-{(task.environment_id or '')[-6:]}" if taken else name
