# SPDX-License-Identifier: Apache-2.0
"""The environment spec: the one document in which a playbook is told what to install where."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from controlplane.domain.errors import Problem
from controlplane.domain.install import hosts_begun, outputs_done, steps_done
from controlplane.services import cluster_members, install_lineage
from controlplane.services.core import Core
from controlplane.store.tables import (
    Cluster,
    Environment,
    EnvironmentNode,
    Host,
    InstallStep,
    InstallTask,
    NetworkEntry,
)

API = "tidegate.environment/v1"
_OWN_LETTERS = 8


def of_preview(core: Core, session: Session, task: InstallTask) -> dict[str, Any]:
    """Return what a preview is made from."""
    asked: dict[str, Any] = json.loads(core.vault.decrypt(task.request_cipher))
    return {
        **of_environment(core, session, session.get_one(Environment, task.environment_id or ""), task.nodes),
        **{name: asked[name] for name in ("runtime_version", "profile", "lost") if asked.get(name)},
        **({"remove": removed} if (removed := leaving(task, asked)) else {}),
        "inputs": asked.get("inputs") or {},
        "network_entry": _network_entry(session, task, asked.get("network_entry") or {}),
        **({"rollback": {"undoes": undone_by(session, task)}} if task.undoes else {}),
        "task_id": task.id,
        "holder": holder_of(core, task),
    }


def holder_of(core: Core, task: InstallTask) -> str:
    """Return whom hosts call the one who works on them: a task, and of which installation it is. Tokens of one cannot
    be compared with those of another."""
    own = core.vault.digest(b"the holder of a host").removeprefix("hmac:")[:_OWN_LETTERS]
    return f"tidegate {own} task {task.id}"


def undone_by(session: Session, task: InstallTask) -> list[str] | None:
    """Return the tasks whose work on the hosts a rollback takes back; None for all that is there, where the environment
    began with the install that it undoes."""
    undone = session.get_one(InstallTask, task.undoes)
    if install_lineage.stands_before(session, undone) is None:
        return None
    return [one.id for one in install_lineage.with_later(session, undone)]


def of_run(core: Core, session: Session, task: InstallTask, fencing_token: int) -> dict[str, Any]:
    """Return what an install or a rollback works from: held to what its preview saw, going on where it stopped.

    `resume` are the steps of each host that are done, `outputs` what they told, for hooks that come after them; `begun`
    are the hosts on which the task did more than to look.
    """
    query = select(InstallStep).where(InstallStep.task_id == task.id).order_by(InstallStep.position)
    steps = list(session.scalars(query))
    binding = (task.preview or {}).get("binding") or {}
    return {
        **of_preview(core, session, task),
        "fencing_token": fencing_token,
        "resume": steps_done((row.host, row.step, row.status) for row in steps),
        "begun": hosts_begun((row.host, row.step) for row in steps),
        "outputs": outputs_done((row.host, row.step, row.status, row.detail) for row in steps),
        "expect": {"bundle_digest": task.bundle_digest, "fingerprints": binding.get("fingerprints", {})},
    }


def _network_entry(session: Session, task: InstallTask, planned: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the VIP that the API server's certificate names: the one there is, or the one that is to follow.

    `in_force`: nodes find their control plane there, and so do those that are yet to join.
    """
    cluster = session.scalar(select(Cluster).where(Cluster.environment_id == task.environment_id))
    entry = session.get(NetworkEntry, cluster.id) if cluster else None
    parameters = entry.parameters if entry else planned.get("lvs_vip")
    if not parameters:
        return None
    address = str(ipaddress.ip_interface(parameters["vip_address"]).ip)
    in_force = cluster is not None and entry is not None and cluster.direct_endpoint is not None
    return {"address": address, "in_force": in_force}


def leaving(task: InstallTask, asked: Mapping[str, Any]) -> list[str]:
    """Return the names of the hosts that a removal takes out of its cluster."""
    return [node["name"] for node in task.nodes if node["host_id"] in (asked.get("removes") or [])]


def asked_hosts(task: InstallTask, asked: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the nodes that a task's playbook goes to: all, but those that leave and are lost."""
    lost = asked.get("removes") or [] if asked.get("lost") else []
    return [node for node in task.nodes if node["host_id"] not in lost]


def of_environment(
    core: Core, session: Session, environment: Environment, nodes: Sequence[Mapping[str, str]]
) -> dict[str, Any]:
    """Return what every playbook of an environment is told."""
    return {
        "api": API,
        "environment_id": environment.id,
        "name": environment.name,
        "runtime_type": environment.runtime_type,
        "bundle_dir": str(core.settings.bundle_dir),
        "bundle_trusted_keys": list(core.settings.bundle_trusted_keys),
        "nodes": [
            {
                "host": node["name"],
                "role": node["role"],
                "address": session.get_one(Host, node["host_id"]).address,
            }
            for node in nodes
        ],
    }


def require_nodes(environment: Environment, nodes: Sequence[Mapping[str, str]]) -> None:
    """Let pass an environment that has a host at all. Raises Problem `insufficient_nodes`."""
    if not nodes:
        raise Problem("insufficient_nodes", f"environment {environment.name} has no node")


def nodes_of(session: Session, environment_id: str) -> list[dict[str, str]]:
    """Return an environment's nodes as a task binds them: `[{host_id, name, role}]`, by name; but the control plane
    that its cluster began with is the first, whatever others are called that came later."""
    members = cluster_members.of(session, environment_id)
    first = members[0]["host_id"] if members else ""
    rows = session.execute(
        select(EnvironmentNode.host_id, Host.name, EnvironmentNode.role)
        .join(Host, Host.id == EnvironmentNode.host_id)
        .where(EnvironmentNode.environment_id == environment_id)
        .order_by(Host.name)
    )
    found = [{"host_id": row.host_id, "name": row.name, "role": row.role} for row in rows]
    return sorted(found, key=lambda node: node["host_id"] != first)
