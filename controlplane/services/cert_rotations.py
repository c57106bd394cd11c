# SPDX-License-Identifier: Apache-2.0
"""Rotations of the certificates of a cluster that Tidegate made: previewed, applied, gone on with, read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from controlplane.domain import certificates as rules
from controlplane.domain.cluster import GONE
from controlplane.domain.errors import Problem
from controlplane.domain.permission import Actor, Permission
from controlplane.services import install_spec, network_entries, tasks
from controlplane.services.core import Core
from controlplane.services.tasks import Subject
from controlplane.store.tables import Cluster, InstallTask


def _moved(session: Session, task: InstallTask) -> list[str]:
    cluster = session.get(Cluster, task.cluster_id)
    is_same = cluster is not None and cluster.status != GONE and planes(session, cluster) == task.nodes
    return [] if is_same else ["the cluster's control planes"]


SUBJECT = Subject(
    name="cert_rotation",
    table=Cluster,
    owner_id=InstallTask.cluster_id,
    read=Permission.CLUSTER_READ,
    change=Permission.CLUSTER_ROTATE,
    load=network_entries.SUBJECT.load,
    moved=_moved,
    stages=network_entries.stages_of,
)


def request_preview(core: Core, actor: Actor, cluster_id: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Make a task and queue its preview; nothing is changed on a host.

    Args:
        asked: `within_days`: a rotation is needed when a certificate ends within so many days. One that is not
            needed can be applied all the same.

    Raises:
        Problem: `cluster_not_found`, `permission_denied`, `conflict` (Tidegate did not make the cluster, it is gone, or
            a rotation of it is at work).
    """
    cluster, project = SUBJECT.changeable(core, actor, cluster_id)
    assert isinstance(cluster, Cluster)
    with core.database.read() as session:
        nodes = require_planes(session, cluster)
        stage = network_entries.stage_of(session, cluster)
    days = asked.get("within_days")
    return tasks.queue_preview(
        core,
        actor,
        SUBJECT,
        cluster,
        project,
        kind="rotate",
        nodes=nodes,
        request={"within_days": rules.WITHIN_DAYS if days is None else days},
        cluster_id=cluster.id,
        cluster_name=cluster.name,
        environment_id=cluster.environment_id,
        stage=stage,
        runtime_type="k8s",
    )


def planes(session: Session, cluster: Cluster) -> list[dict[str, str]]:
    """Return the control planes of a cluster, `[{host_id, name, role}]`; none where Tidegate did not make it."""
    nodes = install_spec.nodes_of(session, cluster.environment_id or "")
    return [node for node in nodes if node["role"] == "control_plane"]


def require_planes(session: Session, cluster: Cluster) -> list[dict[str, str]]:
    """Return the control planes of a cluster. Raises Problem `conflict` where there are none to reach."""
    found = planes(session, cluster)
    if cluster.status == GONE:
        raise Problem("conflict", f"cluster {cluster.name} is gone: it was taken away with its environment")
    if not found:
        raise Problem(
            "conflict",
            f"cluster {cluster.name} was brought in: its control planes are not Tidegate's to reach",
            hint="Renew its certificates where it was made, then set its connection.",
        )
    return found
