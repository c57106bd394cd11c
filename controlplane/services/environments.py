# SPDX-License-Identifier: Apache-2.0
"""Environments: a stage, a runtime, and the hosts that belong to it. DESIGN section 7."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import delete as sql_delete
from sqlalchemy import select
from sqlalchemy.orm import Session

from controlplane.domain import environment as rules
from controlplane.domain import install
from controlplane.domain.errors import Problem
from controlplane.domain.identifier import new_id
from controlplane.domain.install import TaskState
from controlplane.domain.permission import Actor, Permission
from controlplane.services import access, cluster_members, record, views
from controlplane.services.core import Core
from controlplane.store import pages
from controlplane.store.pages import PageRequest
from controlplane.store.tables import (
    Cluster,
    Environment,
    EnvironmentNode,
    Host,
    InstallStep,
    InstallTask,
    Project,
    Target,
    VariableValue,
)

FILTERS = ("name", "stage", "runtime_type")
Nodes = Sequence[Mapping[str, Any]]


def create(core: Core, actor: Actor, given: Mapping[str, Any]) -> dict[str, Any]:
    """Make an environment, with its nodes when they are named: `nodes` or, for the usual role, `host_ids`.

    Raises:
        Problem: `not_found` (the project or a host), `permission_denied`, `conflict` (the name is taken),
            `node_role_invalid`, `validation_error`.
    """
    with core.database.read() as session:
        project = access.load_project(session, actor, given["project_id"])
    access.require(core, actor, Permission.ENVIRONMENT_WRITE, project, about=("project", project.id))
    environment = Environment(
        id=new_id("env"),
        project_id=project.id,
        name=given["name"],
        stage=given["stage"],
        runtime_type=given.get("runtime_type", "compose"),
        mode=given.get("mode", "external_managed"),
        status="ready" if given.get("mode", "external_managed") == "external_managed" else "draft",
        created_at=core.clock.now(),
    )
    with core.database.write() as session:
        session.add(environment)
        record.flush(session, f"there is an environment named {environment.name} in this project already")
        nodes = _nodes_of(given, environment)
        if nodes is not None:
            _set_nodes(session, environment, nodes)
        shown = _show(session, environment)
        _tell(core, session, actor, "resource.created", environment, project, given)
    return shown


def list_(core: Core, actor: Actor, filters: Mapping[str, Any], page: PageRequest) -> pages.Page:
    """List environments that the actor may read. Filters: `project_id`, `name`, `stage`, `runtime_type`."""
    query = access.visible(select(Environment), actor, Permission.ENVIRONMENT_READ, Environment.project_id)
    with core.database.read() as session:
        if filters.get("project_id"):
            project = access.load_project(session, actor, filters["project_id"])
            query = query.where(Environment.project_id == project.id)
        for name in FILTERS:
            if filters.get(name):
                query = query.where(getattr(Environment, name) == filters[name])
        sortable = {
            "name": Environment.name,
            "stage": Environment.stage,
            "created_at": Environment.created_at,
        }
        return pages.fetch_page(
            session, query, page, sortable, Environment.id, lambda row: _show(session, row), "name"
        )


def get(core: Core, actor: Actor, environment_id: str) -> dict[str, Any]:
    """Return an environment with its nodes. Raises Problem `not_found`, `permission_denied`."""
    with core.database.read() as session:
        environment, project = access.load(session, Environment, environment_id, actor)
        shown = _show(session, environment)
    access.require(core, actor, Permission.ENVIRONMENT_READ, project, about=("environment", environment_id))
    return shown


def update(core: Core, actor: Actor, environment_id: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Change what is given. The stage of an environment that has targets stays: approvals are asked by it.

    Raises:
        Problem: `not_found`, `permission_denied`, `conflict`, `resource_in_use`, `node_role_invalid`.
    """
    _require_writing(core, actor, environment_id)
    with core.database.write() as session:
        environment, project = access.load(session, Environment, environment_id, actor)
        if given.get("stage", environment.stage) != environment.stage:
            _refuse_while_used(session, environment, "its stage cannot change")
        for name in ("name", "stage"):
            if name in given:
                setattr(environment, name, given[name])
        record.flush(session, f"there is an environment named {given.get('name')} in this project already")
        nodes = _nodes_of(given, environment)
        if nodes is not None:
            if environment.status == "installing":
                raise Problem(
                    "conflict", f"environment {environment.name} is being installed: its nodes stay"
                )
            _set_nodes(session, environment, nodes)
        shown = _show(session, environment)
        _tell(core, session, actor, "resource.updated", environment, project, given)
    return shown


def set_nodes(core: Core, actor: Actor, environment_id: str, nodes: Nodes) -> dict[str, Any]:
    """Replace the nodes: `[{host_id, role}]`.

    Raises:
        Problem: `not_found` (also a host of another project), `permission_denied`, `node_role_invalid`,
            `resource_in_use` (a target releases to a host that would go), `validation_error` (a host twice),
            `conflict` (one would leave a cluster without a word to it).
    """
    return update(core, actor, environment_id, {"nodes": nodes})


def delete(core: Core, actor: Actor, environment_id: str) -> None:
    """Delete an environment that has no target, with the values that variables have in it.

    Raises:
        Problem: `not_found`, `permission_denied`, `resource_in_use`.
    """
    _require_writing(core, actor, environment_id)
    with core.database.write() as session:
        environment, project = access.load(session, Environment, environment_id, actor)
        _refuse_while_used(session, environment, "it cannot be deleted")
        _forget_tasks(session, environment)
        session.execute(sql_delete(EnvironmentNode).where(EnvironmentNode.environment_id == environment_id))
        session.execute(
            sql_delete(VariableValue).where(
                VariableValue.scope_type == "environment", VariableValue.scope_id == environment_id
            )
        )
        record.remove(session, environment, f"environment {environment.name} is used still")
        _tell(core, session, actor, "resource.deleted", environment, project, {})


def _forget_tasks(session: Session, environment: Environment) -> None:
    """Delete what is kept of installs; their events stay. Refused while one is at work, or waits for a decision."""
    its_own = (InstallTask.environment_id == environment.id) & (InstallTask.subject == "install")
    tasks = list(session.scalars(select(InstallTask).where(its_own)))
    live = [task.id for task in tasks if task.state in (TaskState.PENDING, TaskState.RUNNING)]
    if live:
        raise Problem(
            "resource_in_use", f"environment {environment.name} has tasks at work: {', '.join(live)}"
        )
    ids = [task.id for task in tasks]
    session.execute(sql_delete(InstallStep).where(InstallStep.task_id.in_(ids)))
    session.execute(sql_delete(InstallTask).where(InstallTask.id.in_(ids)))


def node_ids(session: Session, environment_id: str) -> list[str]:
    """Return the ids of an environment's hosts, by name."""
    return [node["host_id"] for node in _nodes(session, environment_id)]


def _require_writing(core: Core, actor: Actor, environment_id: str) -> None:
    with core.database.read() as session:
        _, project = access.load(session, Environment, environment_id, actor)
    access.require(core, actor, Permission.ENVIRONMENT_WRITE, project, about=("environment", environment_id))


def _nodes_of(given: Mapping[str, Any], environment: Environment) -> Nodes | None:
    """Return the nodes that a request names in either way, None where it names none."""
    if "nodes" in given and "host_ids" in given:
        raise Problem("validation_error", errors={"host_ids": ["give nodes or host_ids, not both"]})
    if "host_ids" in given:
        return [{"host_id": host_id} for host_id in given["host_ids"]]
    nodes: Nodes | None = given.get("nodes")
    return nodes


def _set_nodes(session: Session, environment: Environment, nodes: Nodes) -> None:
    roles: dict[str, str] = {}
    for node in nodes:
        role = node.get("role") or rules.default_role(environment.runtime_type)
        if not rules.is_role_of(environment.runtime_type, role):
            kind = environment.runtime_type
            raise Problem("node_role_invalid", f"{role} is no role of a node of a {kind} environment")
        if node["host_id"] in roles:
            raise Problem("validation_error", errors={"nodes": [f"host {node['host_id']} is named twice"]})
        roles[node["host_id"]] = role
    if environment.runtime_type == "k8s":
        install.check_members(cluster_members.of(session, environment.id), roles, environment.name)
    known = set(
        session.scalars(
            select(Host.id).where(Host.id.in_(list(roles)), Host.project_id == environment.project_id)
        )
    )
    for host_id in roles:
        if host_id not in known:
            raise Problem("not_found", f"there is no host {host_id} in this project")
    for target in _targets(session, environment.id):
        if not set(target.host_ids) <= known:
            raise Problem(
                "resource_in_use", f"target {target.name} releases to a host that would not be a node"
            )
    session.execute(sql_delete(EnvironmentNode).where(EnvironmentNode.environment_id == environment.id))
    session.add_all(
        EnvironmentNode(environment_id=environment.id, host_id=host_id, role=role)
        for host_id, role in roles.items()
    )
    session.flush()


def _targets(session: Session, environment_id: str) -> list[Target]:
    return list(
        session.scalars(select(Target).where(Target.environment_id == environment_id).order_by(Target.name))
    )


def _refuse_while_used(session: Session, environment: Environment, why: str) -> None:
    names = [target.name for target in _targets(session, environment.id)]
    if names:
        raise Problem(
            "resource_in_use", f"environment {environment.name} has targets ({', '.join(names)}): {why}"
        )


def _nodes(session: Session, environment_id: str) -> list[dict[str, Any]]:
    rows = session.execute(
        select(EnvironmentNode.host_id, EnvironmentNode.role, Host.name)
        .join(Host, Host.id == EnvironmentNode.host_id)
        .where(EnvironmentNode.environment_id == environment_id)
        .order_by(Host.name)
    )
    return [{"host_id": row.host_id, "role": row.role, "name": row.name} for row in rows]


def _tell(
    core: Core,
    session: Session,
    actor: Actor,
    action: str,
    environment: Environment,
    project: Project,
    given: Mapping[str, Any],
) -> None:
    detail = {
        "name": environment.name,
        "stage": environment.stage,
        "fields": sorted(name for name in given if name != "project_id"),
    }
    record.tell(core, session, actor, action, ("environment", environment.id), project, **detail)


def _show(session: Session, environment: Environment) -> dict[str, Any]:
    return {
        "id": environment.id,
        "project_id": environment.project_id,
        "name": environment.name,
        "stage": environment.stage,
        "runtime_type": environment.runtime_type,
        "mode": environment.mode,
        "status": environment.status,
        "nodes": _nodes(session, environment.id),
        "cluster_id": session.scalar(select(Cluster.id).where(Cluster.environment_id == environment.id)),
        "health": environment.health,
        "health_checked_at": views.moment(environment.health_at),
        "created_at": views.moment(environment.created_at),
    }
