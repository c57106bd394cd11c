# SPDX-License-Identifier: Apache-2.0
"""A cluster is reached in another way from now on: tried first, and every target on it is looked at again."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from controlplane.domain.cluster import Connection
from controlplane.domain.errors import Problem
from controlplane.services import cluster_access, cluster_connection
from controlplane.services.cluster_connection import Tried
from controlplane.services.core import Core
from controlplane.store.events import NewEvent
from controlplane.store.tables import Cluster, Project, Target


@dataclass(frozen=True)
class Change:
    """A connection that was tried, what its test found, and what each target has over it, by id.

    `version` is that of the cluster's row which it was made for.
    """

    version: int
    tried: Tried
    report: Mapping[str, Any]
    targets: Mapping[str, dict[str, Any]]


def prepare(
    core: Core, cluster: Cluster, connection: Connection, namespace: str | None, targets: Sequence[Target]
) -> Change:
    """Connect, and look at the targets: outside of any transaction.

    Raises:
        Problem: what is wrong with the connection. A target to which no release can be made over it is no fault.
    """
    tried = cluster_connection.try_out(core, connection)
    report = cluster_connection.report_on(core, tried, namespace)
    return Change(cluster.version, tried, report, review(core, tried, targets))


def renewed(core: Core, cluster_id: str, document: Mapping[str, Any]) -> Change:
    """Prepare for the credential that a rotation told of: `kubeconfig`. Where the cluster is reached stays.

    Where somebody chose another login than the administrator's, that goes on to be good and is kept.

    Raises:
        Problem: as `prepare`, and `kubeconfig_invalid` where nothing was told.
    """
    with core.database.read() as session:
        cluster = session.get_one(Cluster, cluster_id)
        targets = targets_of(session, cluster_id)
    kept = cluster_connection.opened(core, cluster)
    given = document.get("kubeconfig")
    if not given:
        raise Problem("kubeconfig_invalid", "the first control plane told of no kubeconfig")
    text = given if isinstance(given, str) else json.dumps(given)
    new = cluster_connection.parse(core, {"kubeconfig": text})
    if core.cluster_probe.subject(kept) != core.cluster_probe.subject(new):
        return prepare(core, cluster, kept, None, targets)
    made = dataclasses.replace(kept, certificate=new.certificate, key=new.key)
    return prepare(core, cluster, made, None, targets)


def write(
    core: Core, session: Session, cluster: Cluster, change: Change
) -> tuple[list[NewEvent], list[dict[str, Any]]]:
    """Keep what was prepared; return the events that tell it, and the targets to which no release can be made now.

    Raises:
        Problem: `conflict`, where the connection was changed since.
    """
    if cluster.version != change.version:
        raise Problem("conflict", "the cluster's connection was changed meanwhile")
    was = cluster.endpoint
    cluster_connection.put(core, cluster, change.tried, change.report)
    cluster.version += 1
    failing = mark(session, cluster.id, change.targets)
    session.flush()
    project = session.get_one(Project, cluster.project_id)
    status = "warning" if cluster.insecure_skip_tls_verify else "success"
    return moved(cluster, project, was, failing, status), failing


def review(core: Core, tried: Tried, targets: Sequence[Target]) -> dict[str, dict[str, Any]]:
    """Return what each target has over a connection, by id. It asks the cluster."""
    return {
        target.id: cluster_access.review(
            core,
            tried.connection,
            target.namespace or cluster_connection.DEFAULT_NAMESPACE,
            cluster_scoped=target.cluster_scoped,
        )
        for target in targets
    }


def targets_of(session: Session, cluster_id: str) -> list[Target]:
    """Return the targets on a cluster, by name."""
    return list(session.scalars(select(Target).where(Target.cluster_id == cluster_id).order_by(Target.name)))


def mark(session: Session, cluster_id: str, found: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Write to each target what was found; return those that fail. One made meanwhile was looked at then, with
    the connection from before: it is marked as not looked at."""
    failing = []
    for target in targets_of(session, cluster_id):
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
    failing: Sequence[Mapping[str, Any]],
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
    return [changed, *marked(cluster, project, failing)]


def marked(cluster: Cluster, project: Project, failing: Sequence[Mapping[str, Any]]) -> list[NewEvent]:
    """Return the events that tell of targets to which no release can be made."""
    return [
        NewEvent(
            "resource.updated", "target", one["id"], status="warning", project_id=project.id,
            team_id=project.team_id, environment_id=one["environment_id"],
            detail={"name": one["name"], "cluster_id": cluster.id, "cluster_access": one["cluster_access"]},
        )
        for one in failing
    ]  # fmt: skip
