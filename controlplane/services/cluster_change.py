# SPDX-License-Identifier: Apache-2.0
"""A cluster is reached in another way from now on: tried first, and every target on it is looked at again."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from controlplane.domain.cluster import Connection
from controlplane.domain.errors import Problem
from controlplane.services import cluster_connection, cluster_targets
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
    found = {target.id: cluster_targets.review(core, tried, target) for target in targets}
    return Change(cluster.version, tried, report, found)


def renewed(core: Core, cluster_id: str, document: Mapping[str, Any]) -> Change:
    """Prepare for the credential that a rotation told of: `kubeconfig`. Where the cluster is reached stays.

    Where somebody chose another login than the administrator's, that goes on to be good and is kept.

    Raises:
        Problem: as `prepare`, and `kubeconfig_invalid` where nothing was told.
    """
    with core.database.read() as session:
        cluster = session.get_one(Cluster, cluster_id)
        targets = cluster_targets.of(session, cluster_id)
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
    failing = cluster_targets.mark(session, cluster.id, change.targets)
    session.flush()
    project = session.get_one(Project, cluster.project_id)
    status = "warning" if cluster.insecure_skip_tls_verify else "success"
    return cluster_targets.moved(cluster, project, was, failing, status), failing
