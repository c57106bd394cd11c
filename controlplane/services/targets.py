# SPDX-License-Identifier: Apache-2.0
"""Targets: where a service is released. An environment and some of its hosts, or a cluster and a namespace of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete as sql_delete
from sqlalchemy import select
from sqlalchemy.orm import Session

from controlplane.domain import cluster as cluster_rules
from controlplane.domain.errors import Problem
from controlplane.domain.identifier import new_id
from controlplane.domain.permission import Actor, Permission
from controlplane.services import (
    access,
    cluster_access,
    cluster_connection,
    clusters,
    environments,
    record,
    views,
)
from controlplane.services.core import Core
from controlplane.store import pages
from controlplane.store.pages import PageRequest
from controlplane.store.tables import Cluster, Environment, Job, Project, Release, Target, VariableValue

ON_HOSTS = ("host_ids",)
IN_CLUSTER = ("cluster_id", "namespace", "cluster_scoped")


@dataclass(frozen=True)
class _Place:
    """A namespace of a cluster that was looked at. `version` is that of the connection with which it was."""

    cluster_id: str
    version: int
    namespace: str
    cluster_scoped: bool
    access: Mapping[str, Any]


def create(core: Core, actor: Actor, given: Mapping[str, Any]) -> dict[str, Any]:
    """Make a target. Without `host_ids` it is every node that a Compose environment has now; in a Kubernetes one
    it is `cluster_id` (or its name) and `namespace`, and the cluster is asked whether releases can be made there.

    Raises:
        Problem: `not_found` (project, environment, or a host that is no node of it), `permission_denied`,
            `insufficient_nodes`, `conflict` (the name is taken), `validation_error`, `cluster_not_found`,
            `cluster_permission_insufficient`, `namespace_missing`, and what is wrong with the connection.
    """
    with core.database.read() as session:
        project = access.load_project(session, actor, given["project_id"])
    access.require(core, actor, Permission.TARGET_WRITE, project, about=("project", project.id))
    with core.database.read() as session:
        environment = _environment(session, project, given["environment_id"])
    place = _find_place(core, project, environment.runtime_type, given)
    with core.database.write() as session:
        environment = _environment(session, project, given["environment_id"])
        target = Target(
            id=new_id("tgt"),
            project_id=project.id,
            name=given["name"],
            environment_id=environment.id,
            runtime_type=environment.runtime_type,
            cluster_scoped=False,
            cluster_access={},
            status={},
            created_at=core.clock.now(),
        )
        if place is None:
            target.host_ids = _host_ids(session, environment, given.get("host_ids"))
        else:
            target.host_ids = []
            _set_place(session, target, place)
        session.add(target)
        record.flush(session, f"there is a target named {target.name} in this project already")
        _tell(core, session, actor, "resource.created", target, project)
    return _show(target)


def list_(core: Core, actor: Actor, filters: Mapping[str, Any], page: PageRequest) -> pages.Page:
    """List targets that the actor may read. Filters: `project_id`, `environment_id`, `name`."""
    query = access.visible(select(Target), actor, Permission.TARGET_READ, Target.project_id)
    with core.database.read() as session:
        if filters.get("project_id"):
            query = query.where(
                Target.project_id == access.load_project(session, actor, filters["project_id"]).id
            )
        for name in ("environment_id", "name"):
            if filters.get(name):
                query = query.where(getattr(Target, name) == filters[name])
        sortable = {"name": Target.name, "created_at": Target.created_at}
        return pages.fetch_page(session, query, page, sortable, Target.id, _show, "name")


def get(core: Core, actor: Actor, target_id: str) -> dict[str, Any]:
    """Return a target. Raises Problem `not_found`, `permission_denied`."""
    with core.database.read() as session:
        target, project = access.load(session, Target, target_id, actor)
    access.require(core, actor, Permission.TARGET_READ, project, about=("target", target_id))
    return _show(target)


def update(core: Core, actor: Actor, target_id: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Change its name, its hosts, or where in which cluster it is. Name, cluster and namespace stay once something
    was released: what runs there carries them, and would be left behind.

    Raises:
        Problem: `not_found`, `permission_denied`, `resource_in_use` (a job is at it), and what `create` says.
    """
    project, before = _require_writing(core, actor, target_id)
    is_on_hosts = before.runtime_type != "k8s"
    place = None
    if is_on_hosts or given.keys() & {*IN_CLUSTER, *ON_HOSTS}:
        kept = {} if is_on_hosts else {name: getattr(before, name) for name in IN_CLUSTER}
        place = _find_place(core, project, before.runtime_type, {**kept, **given})
    with core.database.write() as session:
        target, project = access.load(session, Target, target_id, actor)
        _refuse_while_worked_on(session, target)
        if "host_ids" in given and is_on_hosts:
            environment = session.get_one(Environment, target.environment_id)
            target.host_ids = _host_ids(session, environment, given["host_ids"])
        if place is not None:
            if (place.cluster_id, place.namespace) != (target.cluster_id, target.namespace):
                _refuse_when_released(session, target, "its cluster and namespace cannot change")
            _set_place(session, target, place)
        if given.get("name", target.name) != target.name:
            _refuse_when_released(session, target, "its name cannot change")
            target.name = given["name"]
        record.flush(session, f"there is a target named {given.get('name')} in this project already")
        _tell(core, session, actor, "resource.updated", target, project)
    return _show(target)


def delete(core: Core, actor: Actor, target_id: str) -> None:
    """Delete a target that nothing was ever released to, with the values that variables have on it.

    Raises:
        Problem: `not_found`, `permission_denied`, `resource_in_use`.
    """
    _require_writing(core, actor, target_id)
    with core.database.write() as session:
        target, project = access.load(session, Target, target_id, actor)
        _refuse_while_worked_on(session, target)
        _refuse_when_released(session, target, "they are part of its record")
        session.execute(
            sql_delete(VariableValue).where(
                VariableValue.scope_type == "target", VariableValue.scope_id == target_id
            )
        )
        record.remove(session, target, f"target {target.name} is used still")
        _tell(core, session, actor, "resource.deleted", target, project)


def _require_writing(core: Core, actor: Actor, target_id: str) -> tuple[Project, Target]:
    with core.database.read() as session:
        target, project = access.load(session, Target, target_id, actor)
    access.require(core, actor, Permission.TARGET_WRITE, project, about=("target", target_id))
    return project, target


def _environment(session: Session, project: Project, environment_id: str) -> Environment:
    environment = session.get(Environment, environment_id)
    if environment is None or environment.project_id != project.id:
        raise Problem("not_found", f"there is no environment {environment_id} in this project")
    return environment


def _find_place(core: Core, project: Project, runtime_type: str, given: Mapping[str, Any]) -> _Place | None:
    """Return the namespace that is meant once releases can be made to it; None for a target that is on hosts.

    The cluster is asked, so no transaction is open.
    """
    foreign = ON_HOSTS if runtime_type == "k8s" else IN_CLUSTER
    wrong = [name for name in foreign if given.get(name)]
    if wrong:
        raise _foreign(runtime_type, wrong)
    if runtime_type != "k8s":
        return None
    word, namespace = given.get("cluster_id"), given.get("namespace")
    errors = {name: ["is needed"] for name in ("cluster_id", "namespace") if not given.get(name)}
    if namespace and not cluster_rules.is_namespace(namespace):
        errors["namespace"] = ["must be the name of a namespace"]
    if errors or word is None or namespace is None:
        raise Problem("validation_error", errors=errors)
    with core.database.read() as session:
        cluster = clusters.named(session, project, word)
    connection = cluster_connection.opened(core, cluster)
    is_scoped = bool(given.get("cluster_scoped"))
    found = cluster_access.require(core, connection, namespace, cluster_scoped=is_scoped)
    return _Place(cluster.id, cluster.version, namespace, is_scoped, found)


def _foreign(runtime_type: str, names: Sequence[str]) -> Problem:
    said = f"is nothing that a target of a {runtime_type} environment has"
    return Problem("validation_error", errors={name: [said] for name in names})


def _set_place(session: Session, target: Target, place: _Place) -> None:
    cluster = session.get(Cluster, place.cluster_id)
    if cluster is None or cluster.version != place.version:
        raise Problem("conflict", "the cluster's connection was changed meanwhile")
    target.cluster_id, target.namespace = place.cluster_id, place.namespace
    target.cluster_scoped, target.cluster_access = place.cluster_scoped, dict(place.access)


def _host_ids(session: Session, environment: Environment, wanted: Sequence[str] | None) -> list[str]:
    """Return the hosts of a target in the order in which they were named, each once."""
    nodes = environments.node_ids(session, environment.id)
    chosen = nodes if wanted is None else list(dict.fromkeys(wanted))
    for host_id in chosen:
        if host_id not in nodes:
            raise Problem(
                "not_found", f"there is no host {host_id} among the nodes of environment {environment.name}"
            )
    if not chosen:
        raise Problem("insufficient_nodes", "a target needs a host that is a node of its environment")
    return chosen


def _refuse_while_worked_on(session: Session, target: Target) -> None:
    """Hosts that change under a job would be released to without its lock, or be left half way."""
    releases = select(Release.id).where(Release.target_id == target.id)
    job = session.scalar(
        select(Job.id)
        .where(Job.state != "done", (Job.resource_id == target.id) | Job.resource_id.in_(releases))
        .limit(1)
    )
    if job is not None:
        raise Problem("resource_in_use", f"job {job} works on target {target.name}")


def _refuse_when_released(session: Session, target: Target, why: str) -> None:
    if session.scalar(select(Release.id).where(Release.target_id == target.id).limit(1)):
        raise Problem("resource_in_use", f"there are releases to target {target.name}: {why}")


def _tell(core: Core, session: Session, actor: Actor, action: str, target: Target, project: Project) -> None:
    detail: dict[str, Any] = {"name": target.name, "environment_id": target.environment_id}
    if target.cluster_id is None:
        detail["host_ids"] = target.host_ids
    else:
        detail |= {name: getattr(target, name) for name in IN_CLUSTER}
    record.tell(core, session, actor, action, ("target", target.id), project, **detail)


def _show(target: Target) -> dict[str, Any]:
    return {
        "id": target.id,
        "project_id": target.project_id,
        "name": target.name,
        "environment_id": target.environment_id,
        "runtime_type": target.runtime_type,
        "host_ids": target.host_ids,
        "cluster_id": target.cluster_id,
        "namespace": target.namespace,
        "cluster_scoped": target.cluster_scoped,
        "cluster_access": target.cluster_access,
        "status_at": views.moment(target.status_at),
        "created_at": views.moment(target.created_at),
    }
