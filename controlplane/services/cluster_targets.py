# SPDX-License-Identifier: Apache-2.0
"""The targets on a cluster, looked at again with another way to reach it; those that fail by it are marked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from controlplane.services import cluster_access, cluster_connection
from controlplane.services.cluster_connection import Tried
from controlplane.services.core import Core
from controlplane.store.events import NewEvent
from controlplane.store.tables import Cluster, Project, Target


def of(session: Session, cluster_id: str) -> list[Target]:
    """Return a cluster's targets, by name."""
    return list(session.scalars(select(Target).where(Target.cluster_id == cluster_id).order_by(Target.name)))


def review(core: Core, tried: Tried, target: Target) -> dict[str, Any]:
    """Return what a target keeps of its access by a connection. It asks the cluster: outside of transactions."""
    namespace = target.namespace or cluster_connection.DEFAULT_NAMESPACE
    return cluster_access.review(core, tried.connection, namespace, cluster_scoped=target.cluster_scoped)


def mark(session: Session, cluster_id: str, found: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Write to each target what was found; return those that fail. One made meanwhile was looked at then, with
    the connection from before: it is marked as not looked at."""
    failing = []
    for target in of(session, cluster_id):
        target.cluster_access = found.get(target.id, {})
        if not cluster_access.is_good(target.cluster_access):
            failing.append(
                {
                    "id": target.id,
                    "name": target.name,
                    "environment_id": target.environment_id,
                    "cluster_access": target.cluster_access,
                }
            )
    return failing


def moved(
    cluster: Cluster,
    project: Project,
    endpoint_before: str,
    failing: list[dict[str, Any]],
    status: str,
    **more: Any,
) -> list[NewEvent]:
    """Return the events that tell of another way to a cluster, and of each target that fails by it."""
    told = {
        "name": cluster.name,
        "endpoint": cluster.endpoint,
        "endpoint_before": endpoint_before,
        "targets_failing": [one["name"] for one in failing],
        **more,
    }
    changed = NewEvent(
        "resource.updated", "cluster", cluster.id, status="warning" if failing else status,
        project_id=project.id, team_id=project.team_id, detail=told,
    )  # fmt: skip
    marked = [
        NewEvent(
            "resource.updated", "target", one["id"], status="warning", project_id=project.id,
            team_id=project.team_id, environment_id=one["environment_id"],
            detail={"name": one["name"], "cluster_id": cluster.id, "cluster_access": one["cluster_access"]},
        )
        for one in failing
    ]  # fmt: skip
    return [changed, *marked]
