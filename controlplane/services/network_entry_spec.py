# SPDX-License-Identifier: Apache-2.0
"""The network entry's spec: the one document in which a playbook is told which VIP goes where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy.orm import Session

from controlplane.domain import network_entry as rules
from controlplane.ports.runner import PlaybookRun
from controlplane.services import install_spec, release_spec, run_place, tasks
from controlplane.services.core import Core
from controlplane.store.tables import Host, InstallTask

API = "tidegate.network_entry/v1"
GROUP = "network_entry_hosts"
DOCUMENT = "network_entry_spec_file"


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
) -> PlaybookRun:
    """Return the run of a playbook on the hosts of an entry, as the task asked for it; `more` goes into its spec.

    Args:
        everywhere: also on the cluster's nodes that are neither director nor back end.
    """
    parameters = tasks.requested(core, task)["lvs_vip"]
    nodes = task.nodes if everywhere else rules.with_part(task.nodes, parameters)
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
        },
    }


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
