# SPDX-License-Identifier: Apache-2.0
"""The network entry's spec: the one document in which a playbook is told which VIP goes where."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from controlplane.domain import network_entry as rules
from controlplane.ports.runner import PlaybookRun
from controlplane.services import install_spec, release_spec, run_place, tasks
from controlplane.services.core import Core
from controlplane.store.tables import Cluster, EnvironmentNode, Host, InstallStep, InstallTask, NetworkEntry

API = "tidegate.network_entry/v1"
GROUP = "network_entry_hosts"
DOCUMENT = "network_entry_spec_file"
# The step that leads a node to the VIP.
ENDPOINT = "endpoint"


def run(
    core: Core,
    session: Session,
    job_id: str,
    playbook: str,
    task: InstallTask,
    timeout: float,
    more: Mapping[str, Any] | None = None,
    extra_vars: Mapping[str, Any] | None = None,
    *,
    everywhere: bool = True,
    besides: Collection[str] = (),
) -> PlaybookRun:
    """Return the run of a playbook on the hosts of an entry, as the task asked for it; `more` goes into its spec.

    Args:
        everywhere: also on the cluster's nodes that are neither director nor back end.
        besides: where it is not `everywhere`, the names of such nodes that it is for all the same.
    """
    parameters = tasks.requested(core, task)["lvs_vip"]
    nodes = list(task.nodes)
    if not everywhere:
        others = [node for node in task.nodes if node["name"] in besides]
        nodes = [*rules.with_part(task.nodes, parameters), *others]
    place = replace(run_place.of_nodes(core, session, nodes), group=GROUP)
    return PlaybookRun(
        job_id=job_id,
        playbook=playbook,
        hosts=list(place.hosts.values()),
        group=place.group,
        documents={DOCUMENT: {**of_task(core, session, task), **(more or {})}},
        extra_vars=dict(extra_vars or {}),
        secret_env=release_spec.secret_env(core),
        timeout=timeout,
    )


def of_task(core: Core, session: Session, task: InstallTask) -> dict[str, Any]:
    """Return what every playbook of an entry is told. It holds the password."""
    asked = tasks.requested(core, task)
    return {
        "api": API,
        "entry_id": task.cluster_id,
        "bundle_dir": str(core.settings.bundle_dir),
        "bundle_trusted_keys": list(core.settings.bundle_trusted_keys),
        "nodes": nodes_of(session, task.nodes),
        "cluster_networks": asked["cluster_networks"],
        "lvs_vip": asked["lvs_vip"],
    }


def for_work(core: Core, task: InstallTask, fencing_token: int) -> dict[str, Any]:
    """Return what a playbook that changes something is told beside: who holds the hosts, and what was seen there."""
    binding = (task.preview or {}).get("binding") or {}
    parts = {
        name: each.get("fingerprint_parts")
        for name, each in ((task.preview or {}).get("hosts") or {}).items()
    }
    return {
        "task_id": task.id,
        "holder": install_spec.holder_of(core, task),
        "fencing_token": fencing_token,
        "expect": {
            "compare_fingerprint": True,
            "fingerprints": binding.get("fingerprints", {}),
            "fingerprint_parts": parts,
            "unreached": unreached(task),
        },
    }


def unreached(task: InstallTask) -> list[str]:
    """Return the nodes that the preview of a task could not reach, and without which it goes on."""
    seen = ((task.preview or {}).get("hosts") or {}).keys()
    return sorted(node["name"] for node in task.nodes if node["name"] not in seen) if seen else []


def not_led(session: Session, entry: NetworkEntry) -> list[str]:
    """Return the nodes that the apply in force could not lead to the VIP, and that are nodes of the cluster still."""
    query = (
        select(InstallStep.host)
        .join(InstallTask, InstallTask.id == InstallStep.task_id)
        .join(Cluster, Cluster.id == InstallTask.cluster_id)
        .join(EnvironmentNode, EnvironmentNode.environment_id == Cluster.environment_id)
        .join(Host, (Host.id == EnvironmentNode.host_id) & (Host.name == InstallStep.host))
        .where(
            InstallStep.task_id == entry.task_id,
            InstallStep.step == ENDPOINT,
            InstallStep.status == "failed",
        )
    )
    return sorted(set(session.scalars(query)))


def nodes_of(session: Session, nodes: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Return the hosts of a task with the addresses that they are registered with."""
    return [
        {
            "host": node["name"],
            "address": session.get_one(Host, node["host_id"]).address,
            "role": node["role"],
        }
        for node in nodes
    ]
