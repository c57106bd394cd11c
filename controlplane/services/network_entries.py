# SPDX-License-Identifier: Apache-2.0
"""The virtual IP before a cluster: previewed, applied, taken back, tried out, read. DESIGN section 7."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from controlplane.domain import network_entry as rules
from controlplane.domain.errors import Problem
from controlplane.domain.install import TaskState
from controlplane.domain.network_entry import Node
from controlplane.domain.permission import Actor, Permission
from controlplane.services import access, tasks, views
from controlplane.services.core import Core
from controlplane.services.tasks import Subject
from controlplane.store.tables import (
    Cluster,
    Environment,
    EnvironmentNode,
    Host,
    InstallTask,
    NetworkEntry,
    Project,
    Target,
)

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}")
ENDED = (TaskState.SUCCEEDED, TaskState.FAILED)


def _load(session: Session, cluster_id: str, actor: Actor) -> tuple[Cluster, Project]:
    try:
        return access.load(session, Cluster, cluster_id, actor)
    except Problem:
        raise Problem("cluster_not_found", f"there is no cluster {cluster_id}") from None


def _moved(session: Session, task: InstallTask) -> list[str]:
    """Name the hosts that are gone or are reached at another address than when the task was previewed."""
    moved = []
    for node in task.nodes:
        host = session.get(Host, node["host_id"])
        if host is None or host.address != node["address"]:
            moved.append(f"host {node['name']}")
    return moved


def stage_of(session: Session, cluster: Cluster) -> str:
    """Return the strictest stage of what a cluster is used for."""
    return rules.strictest_stage(stages_of(session, cluster))


def stages_of(session: Session, cluster: Cluster) -> list[str]:
    """Return the stages of what a cluster is used for: its own environment, and those of its targets."""
    on_it = select(Target.environment_id).where(Target.cluster_id == cluster.id)
    query = select(Environment.stage).where(
        Environment.id.in_(on_it) | (Environment.id == (cluster.environment_id or ""))
    )
    return list(session.scalars(query))


SUBJECT = Subject(
    name="network_entry",
    table=Cluster,
    owner_id=InstallTask.cluster_id,
    read=Permission.CLUSTER_READ,
    change=Permission.ENVIRONMENT_INSTALL,
    load=_load,
    moved=_moved,
    stages=stages_of,
)


def request_preview(core: Core, actor: Actor, cluster_id: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Make a task and queue its preview; nothing is changed on a host.

    Args:
        asked: `kind` (`apply`, `rollback`, `failover_test`); for an apply `lvs_vip` and `cluster_networks`; for a
            rollback `remove`, which takes the entry away altogether.

    Raises:
        Problem: `cluster_not_found`, `permission_denied`, `validation_error`, `vip_conflict`,
            `backend_nodes_invalid`, `not_found` (there is nothing to take back or to try out), `conflict`.
    """
    cluster, project = SUBJECT.changeable(core, actor, cluster_id)
    assert isinstance(cluster, Cluster)
    kind = asked.get("kind", "apply")
    with core.database.read() as session:
        if kind == "apply":
            request, nodes = of_apply(session, Place.of(cluster), asked)
            undoes = None
        else:
            before = _before(session, cluster_id, kind)
            request = {**tasks.requested(core, before), "remove": bool(asked.get("remove"))}
            nodes = _nodes_now(session, cluster, before, kind)
            undoes = before.id if kind == "rollback" else None
        stage = stage_of(session, cluster)
    return tasks.queue_preview(
        core,
        actor,
        SUBJECT,
        cluster,
        project,
        kind=kind,
        nodes=nodes,
        request=request,
        undoes=undoes,
        cluster_id=cluster.id,
        cluster_name=cluster.name,
        environment_id=cluster.environment_id,
        stage=stage,
        runtime_type="k8s",
    )


@dataclass(frozen=True)
class Place:
    """What an entry stands before: a cluster, or the environment that one is to be made of."""

    project_id: str
    environment_id: str | None
    cluster_id: str | None

    @classmethod
    def of(cls, cluster: Cluster) -> Place:
        """Return the place of a cluster that is there."""
        return cls(cluster.project_id, cluster.environment_id, cluster.id)


def of_apply(
    session: Session, place: Place, asked: Mapping[str, Any]
) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Return what is kept of what was asked for (`lvs_vip`, `cluster_networks`), and the hosts that it is about.

    Raises:
        Problem: as `request_preview`.
    """
    given = asked.get("lvs_vip")
    if not isinstance(given, Mapping):
        raise Problem("validation_error", errors={"lvs_vip": ["is required"]})
    roles = _roles(session, place)
    backends = _named(session, place, given.get("backend_nodes"))
    if given.get("directors"):
        directors = _named(session, place, given["directors"])
    else:
        planes = [host_id for host_id, role in roles.items() if role == "control_plane"]
        found = session.scalars(select(Host).where(Host.id.in_(planes)).order_by(Host.name))
        directors = {host.id: host for host in list(found)[: rules.MOST_DIRECTORS]}
    # The cluster's other nodes have no part in the entry, and are led to the VIP as those are.
    others = session.scalars(select(Host).where(Host.id.in_(list(roles))).order_by(Host.name))
    hosts = {host.id: host for host in (*directors.values(), *backends.values(), *others)}
    nodes = [_node(host, roles.get(host.id, "worker")) for host in hosts.values()]
    named = {
        **given,
        "backend_nodes": [
            {**_backend(one), "host": backends[_word(one)].name} for one in given["backend_nodes"]
        ],
        **({"directors": [directors[_word(one)].name for one in given["directors"]]}
           if given.get("directors") else {}),
    }  # fmt: skip
    networks = dict(asked.get("cluster_networks") or {})
    known = [Node(node["name"], node["address"], node["role"]) for node in nodes]
    parameters = rules.check(named, known, networks)
    _refuse_leaving_out(session, place, nodes)
    return {"lvs_vip": parameters, "cluster_networks": networks, "remove": False}, nodes


def _refuse_leaving_out(session: Session, place: Place, nodes: Sequence[Mapping[str, str]]) -> None:
    entry = session.get(NetworkEntry, place.cluster_id) if place.cluster_id else None
    gone = rules.left_out(rules.with_part(entry.nodes, entry.parameters), nodes) if entry else []
    if gone:
        raise Problem(
            "conflict",
            f"{', '.join(gone)} would be no part of the entry any more and keep what it made there",
            hint="Remove the entry first (rollback with remove), then apply it to the hosts that stay.",
        )


def _word(one: Any) -> str:
    """Return what names a host; empty for what cannot be the name or id of one."""
    word = one.get("host") if isinstance(one, Mapping) else one
    return word if isinstance(word, str) and _WORD.fullmatch(word) else ""


def _backend(one: Any) -> dict[str, Any]:
    return dict(one) if isinstance(one, Mapping) else {}


def _named(session: Session, place: Place, words: Any) -> dict[str, Host]:
    """Return the project's hosts that words name by id or name, by word. One of a cluster that Tidegate made must
    be among its nodes."""
    if not isinstance(words, list) or not words:
        raise Problem("backend_nodes_invalid", "at least two back-end nodes are needed")
    own = set(_roles(session, place)) if place.environment_id else None
    found: dict[str, Host] = {}
    for word in map(_word, words):
        host = session.scalar(
            select(Host).where(Host.project_id == place.project_id, (Host.id == word) | (Host.name == word))
        )
        if host is None or (own is not None and host.id not in own):
            said = "is no host of this project" if host is None else "is no node of the cluster"
            raise Problem("backend_nodes_invalid", f"{word or 'what was named'} {said}")
        found[word] = host
    return found


def _roles(session: Session, place: Place) -> dict[str, str]:
    """Return what each host is in a cluster that an install made; nothing is known of others."""
    rows = session.execute(
        select(EnvironmentNode.host_id, EnvironmentNode.role).where(
            EnvironmentNode.environment_id == (place.environment_id or "")
        )
    )
    return {row.host_id: row.role for row in rows}


def _before(session: Session, cluster_id: str, kind: str) -> InstallTask:
    """Return the apply that a rollback takes back: the newest; or that a failover test tries out: the one in force."""
    if kind == "rollback":
        found = tasks.newest(session, SUBJECT, cluster_id, "apply", ENDED)
    else:
        entry = session.get(NetworkEntry, cluster_id)
        found = session.get(InstallTask, entry.task_id) if entry and entry.is_applied else None
    if found is None:
        raise Problem("not_found", "the cluster has no network entry to do that with")
    return found


def _nodes_now(session: Session, cluster: Cluster, before: InstallTask, kind: str) -> list[dict[str, str]]:
    """Return the hosts of an apply that a task after it is about: for a failover those with a part in the entry; for
    a rollback also the nodes that the cluster got since, for they were led to the VIP when they joined."""
    if kind == "failover_test":
        entry = session.get_one(NetworkEntry, cluster.id)
        return rules.with_part(before.nodes, entry.parameters)
    roles = _roles(session, Place.of(cluster))
    # Who left the cluster since had no part in it, and has nothing of it any more.
    nodes = [node for node in before.nodes if not roles or node["host_id"] in roles]
    known = {node["host_id"] for node in nodes}
    joined = session.scalars(select(Host).where(Host.id.in_(set(roles) - known)).order_by(Host.name))
    return [*nodes, *(_node(host, roles[host.id]) for host in joined)]


def require_no_part(session: Session, environment_id: str, host_ids: Sequence[str]) -> None:
    """Let pass hosts that have no part in the entry before the cluster of an environment: they may leave it.

    Raises:
        Problem: `conflict`, naming those that are directors or back ends.
    """
    cluster = session.scalar(select(Cluster).where(Cluster.environment_id == environment_id))
    entry = session.get(NetworkEntry, cluster.id) if cluster else None
    its = rules.with_part(entry.nodes, entry.parameters) if entry else []
    names = sorted(node["name"] for node in its if node["host_id"] in host_ids)
    if names:
        raise Problem(
            "conflict",
            f"{', '.join(names)} has a part in the network entry before the cluster",
            hint="Remove the entry first (rollback with remove), then apply it to the nodes that stay.",
        )


def _node(host: Host, role: str) -> dict[str, str]:
    return {"host_id": host.id, "name": host.name, "role": role, "address": host.address}


def show(core: Core, actor: Actor, cluster_id: str) -> dict[str, Any]:
    """Return how a cluster's entry is, as it was last seen; `mode` is `none` for a cluster without one.

    Raises:
        Problem: `cluster_not_found`, `permission_denied`.
    """
    cluster, _project = SUBJECT.readable(core, actor, cluster_id)
    with core.database.read() as session:
        assert isinstance(cluster, Cluster)
        return views.network_entry(cluster, session.get(NetworkEntry, cluster_id))


def forget(session: Session, cluster: Cluster) -> None:
    """Delete what is kept of a cluster's entry that was taken away; events stay.

    Raises:
        Problem: `resource_in_use`, while there is one, or a task of it is at work or waits for a decision.
    """
    if session.get(NetworkEntry, cluster.id) is not None:
        raise Problem("resource_in_use", f"cluster {cluster.name} has a network entry: remove it first")
    tasks.forget(session, SUBJECT, cluster)
