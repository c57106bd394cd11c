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

from controlplane.domain.identifier import new_id
from controlplane.services import cluster_connection
from controlplane.services.cluster_connection import Tried
from controlplane.services.core import Core
from controlplane.store.events import NewEvent
from controlplane.store.tables import Cluster, InstallTask


@dataclass(frozen=True)
class Prepared:
    """A connection that was tried, and what its test found."""

    tried: Tried
    report: Mapping[str, Any]


def prepare(core: Core, document: Mapping[str, Any]) -> Prepared:
    """Connect with what an install told of the cluster it made: `kubeconfig`, a text or a document.

    Raises:
        Problem: what is wrong with it, as when a cluster is imported.
    """
    given = document.get("kubeconfig")
    text = given if isinstance(given, str) else json.dumps(given)
    tried = cluster_connection.try_out(core, cluster_connection.parse(core, {"kubeconfig": text}))
    return Prepared(tried, cluster_connection.report_on(core, tried, None))


def keep(
    core: Core, session: Session, task: InstallTask, prepared: Prepared, now: datetime
) -> tuple[Cluster, NewEvent]:
    """Keep the cluster of an environment, or how it is reached from now on; return it and the event that tells it."""
    cluster = session.scalar(select(Cluster).where(Cluster.environment_id == task.environment_id))
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


def _free_name(session: Session, task: InstallTask) -> str:
    """Return the environment's name, or it with the end of its id where a cluster is called so already."""
    name = (task.environment_name or "")[:63]
    taken = session.scalar(
        select(Cluster.id).where(Cluster.project_id == task.project_id, Cluster.name == name)
    )
    return f"{name[:56]}-{(task.environment_id or '')[-6:]}" if taken else name
