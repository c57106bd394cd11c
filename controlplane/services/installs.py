# SPDX-License-Identifier: Apache-2.0
"""Installs of environments: previewed, applied, gone on with, taken back, read. DESIGN section 7."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from controlplane.domain import install as rules
from controlplane.domain.errors import Problem
from controlplane.domain.install import TaskState
from controlplane.domain.permission import Actor, Permission
from controlplane.services import (
    access,
    cluster_members,
    install_lineage,
    install_spec,
    network_entries,
    post_tasks,
    tasks,
)
from controlplane.services.core import Beside, Core
from controlplane.services.tasks import Subject
from controlplane.store import pages
from controlplane.store.tables import Environment, InstallTask, Project


def _load(session: Session, environment_id: str, actor: Actor) -> tuple[Environment, Project]:
    return access.load(session, Environment, environment_id, actor)


def _moved(session: Session, task: InstallTask) -> list[str]:
    environment_id = task.environment_id or ""
    is_other = task.kind != "rollback" and install_spec.nodes_of(session, environment_id) != task.nodes
    return ["the environment's nodes"] if is_other else []


SUBJECT = Subject(
    name="install",
    table=Environment,
    owner_id=InstallTask.environment_id,
    read=Permission.ENVIRONMENT_READ,
    change=Permission.ENVIRONMENT_INSTALL,
    load=_load,
    moved=_moved,
    stages=lambda _session, environment: [str(environment.stage)],
)


def request_preview(
    core: Core, actor: Actor, environment_id: str, asked: Mapping[str, Any], beside: Beside | None = None
) -> dict[str, Any]:
    """Make a task in state `pending` and queue the job that previews it. It changes nothing on a host.

    Args:
        asked: `runtime_version`, `profile`, `inputs`; what is left out is the bundle's to say. `network_entry`,
            `{mode, lvs_vip}`: what is to follow by itself once the cluster is there.
        beside: called with the task's id in the transaction that makes it; what it raises undoes both.

    Raises:
        Problem: `not_found`, `permission_denied`, `insufficient_nodes`, `conflict` (the environment is somebody
            else's, or a task of it is at work), and what `post_tasks.planned` raises.
    """
    environment, project = _installable(core, actor, environment_id)
    request = {name: asked.get(name) for name in ("runtime_version", "profile", "inputs")}
    with core.database.read() as session:
        request["network_entry"] = post_tasks.planned(session, environment, asked.get("network_entry"))
    return _queue_preview(core, actor, environment, project, request, None, beside=beside)


def request_removal(
    core: Core, actor: Actor, environment_id: str, asked: Mapping[str, Any]
) -> dict[str, Any]:
    """Make a task that takes nodes out of an environment's cluster, and queue its preview.

    Args:
        asked: `host_ids`, those that are to leave; `is_lost`, where they are gone already: nobody asks them then, or
            waits for their pods; `inputs`, of which `drain_seconds` is meant; `runtime_version`.

    Raises:
        Problem: as `request_preview`, what `rules.check_removal` raises, and `conflict` for a host that has a part in
            the network entry before the cluster.
    """
    environment, project = _installable(core, actor, environment_id)
    host_ids = list(asked.get("host_ids") or [])
    with core.database.read() as session:
        rules.check_removal(
            environment.runtime_type, install_spec.nodes_of(session, environment.id), host_ids
        )
        network_entries.require_no_part(session, environment.id, host_ids)
    request = {
        "runtime_version": asked.get("runtime_version"),
        "inputs": asked.get("inputs"),
        "removes": host_ids,
        "lost": bool(asked.get("is_lost")),
    }
    return _queue_preview(core, actor, environment, project, request, None, "removal")


def check(core: Core, actor: Actor, environment_id: str) -> None:
    """Let pass what `request_preview` would make an install of; nothing is made.

    Raises:
        Problem: as `request_preview`.
    """
    environment, _project = _installable(core, actor, environment_id)
    with core.database.read() as session:
        nodes = install_spec.nodes_of(session, environment.id)
        rules.check_nodes(environment.runtime_type, (node["role"] for node in nodes))
        tasks.refuse_beside(session, SUBJECT, environment)


def request_rollback(
    core: Core, actor: Actor, environment_id: str, task_id: str | None = None
) -> dict[str, Any]:
    """Make a task that undoes an install, and queue its preview: what it would take away, host by host. The installs
    that came after it go with it; what those before it made stays, or is as they had it.

    Args:
        task_id: the install; the newest one that succeeded or failed when left out.

    Raises:
        Problem: as `request_preview`, and `not_found` where there is nothing to undo.
    """
    with core.database.read() as session:
        access.load(session, Environment, environment_id, actor)
        undone = _undoable(session, environment_id, task_id)
    environment, project = _installable(core, actor, environment_id)
    return _queue_preview(core, actor, environment, project, tasks.requested(core, undone), undone)


def _undoable(session: Session, environment_id: str, task_id: str | None) -> InstallTask:
    ended = (TaskState.SUCCEEDED, TaskState.FAILED)
    if task_id is None:
        found = tasks.newest(session, SUBJECT, environment_id, "install", ended)
    else:
        found = session.get(InstallTask, task_id)
        is_good = (
            found is not None
            and (found.subject, found.environment_id, found.kind) == ("install", environment_id, "install")
            and found.state in ended
            and found.started_at is not None
        )
        found = found if is_good else None
    if found is None:
        raise Problem("not_found", f"there is no install to undo: {task_id or 'nothing was installed'}")
    return found


def _installable(core: Core, actor: Actor, environment_id: str) -> tuple[Environment, Project]:
    with core.database.read() as session:
        environment, project = access.load(session, Environment, environment_id, actor)
    access.require(
        core, actor, Permission.ENVIRONMENT_INSTALL, project, about=("environment", environment.id)
    )
    if environment.mode != "platform_managed":
        raise Problem(
            "conflict",
            f"environment {environment.name} is {environment.mode}: nothing is installed there; "
            "make one whose mode is platform_managed",
        )
    return environment, project


def _queue_preview(
    core: Core,
    actor: Actor,
    environment: Environment,
    project: Project,
    request: Mapping[str, Any],
    undone: InstallTask | None,
    kind: str = "install",
    beside: Beside | None = None,
) -> dict[str, Any]:
    with core.database.read() as session:
        nodes = install_spec.nodes_of(session, environment.id)
        if undone is not None:
            # What left since is somebody else's by now.
            gone = cluster_members.removed_since(session, undone, [node["host_id"] for node in nodes])
            together = install_lineage.with_later(session, undone)
            by_id = {node["host_id"]: node for one in together for node in one.nodes}
            nodes = [node for host_id, node in by_id.items() if host_id not in gone]
    if kind == "install" and undone is None:
        rules.check_nodes(environment.runtime_type, (node["role"] for node in nodes))
    else:
        # Two control planes are what a removal may leave, and a rollback find.
        install_spec.require_nodes(environment, nodes)
    return tasks.queue_preview(
        core,
        actor,
        SUBJECT,
        environment,
        project,
        kind="rollback" if undone else kind,
        nodes=nodes,
        request=request,
        undoes=undone.id if undone else None,
        beside=beside,
        environment_id=environment.id,
        environment_name=environment.name,
        stage=environment.stage,
        runtime_type=environment.runtime_type,
    )


def await_preview(core: Core, actor: Actor, task_id: str, seconds: float) -> dict[str, Any]:
    """See `tasks.await_preview`."""
    return tasks.await_preview(core, actor, SUBJECT, task_id, seconds)


def apply(
    core: Core, actor: Actor, environment_id: str, preview_ref: str | None, kind: str = "install"
) -> dict[str, Any]:
    """See `tasks.apply`."""
    return tasks.apply(core, actor, SUBJECT, environment_id, preview_ref, kind)


def cancel(core: Core, actor: Actor, task_id: str, environment_id: str) -> dict[str, Any]:
    """See `tasks.cancel`."""
    return tasks.cancel(core, actor, SUBJECT, task_id, environment_id)


def retry(core: Core, actor: Actor, task_id: str, environment_id: str) -> dict[str, Any]:
    """See `tasks.retry`."""
    return tasks.retry(core, actor, SUBJECT, task_id, environment_id)


def list_(
    core: Core, actor: Actor, environment_id: str, filters: Mapping[str, str], page: pages.PageRequest
) -> pages.Page:
    """See `tasks.list_`."""
    return tasks.list_(core, actor, SUBJECT, environment_id, filters, page)


def get(core: Core, actor: Actor, task_id: str, environment_id: str) -> dict[str, Any]:
    """See `tasks.get`."""
    return tasks.get(core, actor, SUBJECT, task_id, environment_id)


def timeline_of(
    core: Core, actor: Actor, task_id: str, environment_id: str, after: int = 0, limit: int = 100
) -> dict[str, Any]:
    """See `tasks.timeline_of`."""
    return tasks.timeline_of(core, actor, SUBJECT, task_id, environment_id, after, limit)


def logs(
    core: Core,
    actor: Actor,
    task_id: str,
    environment_id: str,
    after: int = 0,
    limit: int = 200,
    q: str | None = None,
) -> dict[str, Any]:
    """See `tasks.logs`."""
    return tasks.logs(core, actor, SUBJECT, task_id, environment_id, after, limit, q)
