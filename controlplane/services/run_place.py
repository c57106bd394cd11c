# SPDX-License-Identifier: Apache-2.0
"""Where a playbook works for a target: on its hosts over SSH, or in its cluster through the API server."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from controlplane.domain import resources
from controlplane.domain.canonical import digest
from controlplane.domain.cluster import GONE, UNVERIFIED
from controlplane.domain.errors import Problem
from controlplane.ports.runner import RunHost
from controlplane.services import hosts
from controlplane.services.core import Core
from controlplane.store.tables import Cluster, Host, Target


@dataclass(frozen=True)
class RunPlace:
    """`group` is the inventory group that the playbooks' plays are for; a cluster is its one host.

    `identity` stands for what a preview was made against and an apply must meet again: it is empty where each
    host is known by its pinned key. `documents` hold credentials and go into files that only the run reads.
    """

    group: str
    hosts: Mapping[str, RunHost]
    identity: str = ""
    documents: Mapping[str, str] = field(default_factory=dict, repr=False)


def of_target(core: Core, session: Session, target: Target) -> RunPlace:
    """Return where a target's releases go, with what is needed to get there.

    Raises:
        Problem: `host_key_unconfirmed`, `cluster_unreachable` (it was taken away with its environment),
            `kubeconfig_unsafe` (its certificate is not verified, and the installation lets no such in any more).
    """
    if target.cluster_id is not None:
        return _cluster(core, session.get_one(Cluster, target.cluster_id), target)
    rows = session.scalars(select(Host).where(Host.id.in_(target.host_ids)).order_by(Host.name))
    return RunPlace("release_hosts", {host.name: _machine(core, session, host) for host in rows})


def of_nodes(core: Core, session: Session, nodes: Sequence[Mapping[str, str]]) -> RunPlace:
    """Return the hosts of an environment's nodes, `[{host_id, name, role}]`, each with its role.

    Raises:
        Problem: `host_key_unconfirmed`.
    """
    found = {}
    for node in sorted(nodes, key=lambda node: node["name"]):
        host = session.get_one(Host, node["host_id"])
        found[node["name"]] = replace(_machine(core, session, host), name=node["name"], role=node["role"])
    return RunPlace("environment_hosts", found)


def claims(target: Target) -> list[str]:
    """Return the resources that a release to a target touches, and locks.

    What is not in a namespace belongs to the whole cluster: releases that may hold such objects take turns there.
    """
    if target.cluster_id is None or target.namespace is None:
        return [resources.host(host_id) for host_id in target.host_ids]
    found = [resources.namespace(target.cluster_id, target.namespace)]
    return [*found, resources.cluster(target.cluster_id)] if target.cluster_scoped else found


def _machine(core: Core, session: Session, host: Host) -> RunHost:
    return RunHost(
        name=host.name,
        access=hosts.run_access(core, session, host),
        become=host.become,
        become_password=_open(core, host.become_password_cipher),
    )


def _cluster(core: Core, cluster: Cluster, target: Target) -> RunPlace:
    if cluster.status == GONE:
        raise Problem(
            "cluster_unreachable",
            f"cluster {cluster.name} is gone: it was taken away with its environment",
            hint="Install the environment again, or let the target be on another cluster.",
        )
    if cluster.insecure_skip_tls_verify and not core.settings.cluster_allow_insecure_tls:
        raise Problem(
            "kubeconfig_unsafe",
            f"cluster {cluster.name}: {UNVERIFIED}",
            hint="Give its connection the cluster's certificate authority, or set cluster_allow_insecure_tls again.",
        )
    return RunPlace(
        "release_clusters",
        {cluster.name: RunHost(name=cluster.name, access=None)},
        # Not the credential: one that was renewed leads to the same cluster.
        digest([cluster.id, cluster.endpoint, cluster.ca, target.namespace]),
        {"release_kubeconfig_file": _kubeconfig(core, cluster)},
    )


def _kubeconfig(core: Core, cluster: Cluster) -> str:
    """Return the credential, with where its endpoint's name may lead: the run resolves it again."""
    document = json.loads(core.vault.decrypt(cluster.kubeconfig_cipher))
    guard = {"address_allow": [str(one) for one in core.settings.cluster_address_allow]}
    for entry in document["clusters"]:
        entry["cluster"]["extensions"] = [{"name": "tidegate", "extension": guard}]
    return json.dumps(document)


def _open(core: Core, cipher: bytes | None) -> str | None:
    return core.vault.decrypt(cipher).decode() if cipher else None
