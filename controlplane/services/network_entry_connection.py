# SPDX-License-Identifier: Apache-2.0
"""How a cluster that an install made is reached: through its VIP once the entry is ready, and directly again before
the entry is taken away."""

from __future__ import annotations

import ipaddress
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.orm import Session

from controlplane.domain import cluster as rules
from controlplane.domain.cluster import Connection
from controlplane.domain.errors import Problem
from controlplane.services import cluster_change, cluster_connection
from controlplane.services.cluster_change import Change
from controlplane.services.core import Core
from controlplane.store.events import NewEvent
from controlplane.store.tables import Cluster, Project

TRIES = 3
PAUSE_SECONDS = 1.0


@dataclass(frozen=True)
class Move:
    """Another way to a cluster, and what was found when it was tried.

    `change` is None for the way back where nobody answers there: what is taken away is no way at all. `version` is
    that of the cluster's row which it was made for.
    """

    connection: Connection
    change: Change | None
    report: Mapping[str, Any]
    version: int
    is_vip: bool


def through_vip(core: Core, cluster_id: str, lvs_vip: Mapping[str, Any]) -> Move | None:
    """Connect to a cluster at a VIP, with its own authority and credential, and look at its targets.

    None where no install made the cluster, or the VIP does not serve the port of its API server.

    Raises:
        Problem: what is wrong with it, as when a cluster is imported: `cluster_unreachable`, `certificate_invalid`...
    """
    with core.database.read() as session:
        cluster = session.get_one(Cluster, cluster_id)
    if cluster.mode != "platform_managed":
        return None
    endpoint = rules.read_endpoint(cluster.direct_endpoint or cluster.endpoint)
    if endpoint.port not in (lvs_vip["health_check_port"], *lvs_vip["ports"]):
        return None
    address = str(ipaddress.ip_interface(lvs_vip["vip_address"]).ip)
    return _tried(core, cluster, str(replace(endpoint, host=address)), is_vip=True)


def leads_elsewhere(core: Core, cluster_id: str, lvs_vip: Mapping[str, Any]) -> bool:
    """Say whether a cluster is reached through a VIP that is another than this one."""
    with core.database.read() as session:
        cluster = session.get_one(Cluster, cluster_id)
    address = str(ipaddress.ip_interface(lvs_vip["vip_address"]).ip)
    return cluster.direct_endpoint is not None and rules.read_endpoint(cluster.endpoint).host != address


def directly(core: Core, cluster_id: str) -> Move | None:
    """Connect to a cluster where it was reached before there was a VIP; None where it is reached there still."""
    with core.database.read() as session:
        cluster = session.get_one(Cluster, cluster_id)
    if cluster.direct_endpoint is None:
        return None
    try:
        return _tried(core, cluster, cluster.direct_endpoint, is_vip=False)
    except Problem as problem:
        connection = replace(cluster_connection.opened(core, cluster), endpoint=cluster.direct_endpoint)
        report = cluster_connection.report_of(problem, cluster)
        return Move(connection, None, report, cluster.version, is_vip=False)


def put(core: Core, session: Session, cluster: Cluster, move: Move, **told: Any) -> list[NewEvent]:
    """Reach a cluster, whose row is locked, that way from now on; return the events that tell it.

    Nothing is done where somebody has set the connection meanwhile: theirs is the last word.
    """
    if cluster.version != move.version:
        return []
    was, more = cluster.endpoint, {"through": "network_entry" if move.is_vip else "direct", **told}
    if not move.is_vip:
        cluster.direct_endpoint = None
    elif was != move.connection.endpoint and cluster.direct_endpoint is None:
        cluster.direct_endpoint = was
    if was == move.connection.endpoint:
        cluster_connection.note(core, cluster, move.report)
        return []
    if move.change is not None:
        return cluster_change.write(core, session, cluster, move.change, **more)[0]
    cluster.endpoint = move.connection.endpoint
    cluster.kubeconfig_cipher = core.vault.encrypt(json.dumps(move.connection.kubeconfig()).encode())
    cluster_connection.note(core, cluster, move.report)
    cluster.version += 1
    return [
        NewEvent(
            "resource.updated", "cluster", cluster.id, status="warning", project_id=cluster.project_id,
            team_id=session.get_one(Project, cluster.project_id).team_id,
            detail={"name": cluster.name, "endpoint": cluster.endpoint, "endpoint_before": was,
                    "targets_failing": [], **more},
        )
    ]  # fmt: skip


def _tried(core: Core, cluster: Cluster, endpoint: str, *, is_vip: bool) -> Move:
    connection = replace(cluster_connection.opened(core, cluster), endpoint=endpoint)
    with core.database.read() as session:
        targets = cluster_change.targets_of(session, cluster.id)
    for attempt in range(1, TRIES + 1):
        try:
            change = cluster_change.prepare(core, cluster, connection, None, targets)
            break
        except Problem as problem:
            if problem.error_key != "cluster_unreachable" or attempt == TRIES:
                raise
        time.sleep(PAUSE_SECONDS)
    return Move(change.tried.connection, change, change.report, cluster.version, is_vip)
