# SPDX-License-Identifier: Apache-2.0
"""Targets: an environment and those of its hosts to which a service is released."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import delete as sql_delete
from sqlalchemy import select
from sqlalchemy.orm import Session

from controlplane.domain.errors import Problem
from controlplane.domain.identifier import new_id
from controlplane.domain.permission import Actor, Permission
from controlplane.services import access, environments, record, views
from controlplane.services.core import Core
from controlplane.store import pages
from controlplane.store.pages import PageRequest
from controlplane.store.tables import Environment, Job, Project, Release, Target, VariableValue


def create(core: Core, actor: Actor, given: Mapping[str, Any]) -> dict[str, Any]:
    """Make a target; without `host_ids` it is every node that the environment has now.

    Raises:
        Problem: `not_found` (project, environment, or a host that is no node of it), `permission_denied`,
            `insufficient_nodes`, `conflict` (the name is taken).
    """
    with core.database.read() as session:
        project = access.load_project(session, actor, given["project_id"])
    access.require(core, actor, Permission.TARGET_WRITE, project, about=("project", project.id))
    with core.database.write() as session:
        environment = session.get(Environment, given["environment_id"])
        if environment is None or environment.project_id != project.id:
            raise Problem("not_found", f"there is no environment {given['environment_id']} in this project")
        target = Target(
            id=new_id("tgt"),
            project_id=project.id,
            name=given["name"],
            environment_id=environment.id,
            runtime_type=environment.runtime_type,
            host_ids=_host_ids(session, environment, given.get("host_ids")),
            status={},
            created_at=core.clock.now(),
        )
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
    """Change its name or hosts. The name stays once something was released: what runs there carries it.

    Raises:
        Problem: `not_found`, `permission_denied`, `insufficient_nodes`, `conflict`, `resource_in_use` (a job is at it).
    """
    _require_writing(core, actor, target_id)
    with core.database.write() as session:
        target, project = access.load(session, Target, target_id, actor)
        _refuse_while_worked_on(session, target)
        if "host_ids" in given:
            environment = session.get_one(Environment, target.environment_id)
            target.host_ids = _host_ids(session, environment, given["host_ids"])
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


def _require_writing(core: Core, actor: Actor, target_id: str) -> None:
    with core.database.read() as session:
        _, project = access.load(session, Target, target_id, actor)
    access.require(core, actor, Permission.TARGET_WRITE, project, about=("target", target_id))


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
    detail = {"name": target.name, "environment_id": target.environment_id, "host_ids": target.host_ids}
    record.tell(core, session, actor, action, ("target", target.id), project, **detail)


def _show(target: Target) -> dict[str, Any]:
    return {
        "id": target.id,
        "project_id": target.project_id,
        "name": target.name,
        "environment_id": target.environment_id,
        "runtime_type": target.runtime_type,
        "host_ids": target.host_ids,
        "status_at": views.moment(target.status_at),
        "created_at": views.moment(target.created_at),
    }
