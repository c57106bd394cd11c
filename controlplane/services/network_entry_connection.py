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
from controlplane.services.cluster_connection import Tried
from controlplane.services.core import Core
from controlplane.store.events import NewEvent
from controlplane.store.tables import Cluster, Project

TRIES = 3
PAUSE_SECONDS = 1.0


@dataclass(frozen=True)
class Move:
    """Another way to a cluster that was tried: to where, by which connection, and what was found of its targets.

    `tried` is None for the way back where nobody answers there: what is taken away is no way at all. `version` is
    the cluster's when it was tried.
    """

    connection: Connection
    tried: Tried | None
    report: Mapping[str, Any]
    targets: Mapping[str, dict[str, Any]]
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
        return Move(connection, None, report, {}, cluster.version, is_vip=False)


def put(core: Core, session: Session, cluster: Cluster, move: Move, **told: Any) -> list[NewEvent]:
    """Reach a cluster, whose row is locked, that way from now on; return the events that tell it.

    Nothing is done where somebody has set the connection meanwhile: theirs is the last word.
    """
    if cluster.version != move.version:
        return []
    was = cluster.endpoint
    if move.tried is not None:
        cluster_connection.put(core, cluster, move.tried, move.report)
    else:
        cluster.endpoint = move.connection.endpoint
        cluster.kubeconfig_cipher = core.vault.encrypt(json.dumps(move.connection.kubeconfig()).encode())
        cluster_connection.note(core, cluster, move.report)
    if not move.is_vip:
        cluster.direct_endpoint = None
    elif cluster.direct_endpoint is None and was != cluster.endpoint:
        cluster.direct_endpoint = was
    if was == cluster.endpoint:
        return []
    cluster.version += 1
    failing = cluster_change.mark(session, cluster.id, move.targets) if move.tried is not None else []
    session.flush()
    project = session.get_one(Project, cluster.project_id)
    status = "success" if move.tried is not None else "warning"
    through = "network_entry" if move.is_vip else "direct"
    return cluster_change.moved(cluster, project, was, failing, status, through=through, **told)


def _tried(core: Core, cluster: Cluster, endpoint: str, *, is_vip: bool) -> Move:
    connection = replace(cluster_connection.opened(core, cluster), endpoint=endpoint)
    for attempt in range(1, TRIES + 1):
        try:
            tried = cluster_connection.try_out(core, connection)
            break
        except Problem as problem:
            if problem.error_key != "cluster_unreachable" or attempt == TRIES:
                raise
        time.sleep(PAUSE_SECONDS)
    report = cluster_connection.report_on(core, tried, None)
    with core.database.read() as session:
        targets = cluster_change.targets_of(session, cluster.id)
    found = cluster_change.review(core, tried, targets)
    return Move(connection, tried, report, found, cluster.version, is_vip)
