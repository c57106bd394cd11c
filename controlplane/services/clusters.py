# SPDX-License-Identifier: Apache-2.0
"""Clusters that are brought in: parsed, then connected to, then stored. DESIGN section 7."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from controlplane.domain import cluster as rules
from controlplane.domain.errors import Problem
from controlplane.domain.identifier import new_id
from controlplane.domain.permission import Actor, Permission
from controlplane.services import (
    access,
    cert_rotations,
    cluster_change,
    cluster_connection,
    network_entries,
    record,
    tasks,
    views,
)
from controlplane.services.core import Core
from controlplane.store import events, pages
from controlplane.store.events import NewEvent
from controlplane.store.pages import PageRequest
from controlplane.store.tables import Cluster, InstallTask, Project


def import_(core: Core, actor: Actor, given: Mapping[str, Any]) -> dict[str, Any]:
    """Bring a cluster in: `{project_id, name, namespace?}` and a kubeconfig or its parts. Nothing is stored
    when anything fails, except the event that says so.

    Raises:
        Problem: `not_found`, `permission_denied`, `conflict` (the name is taken), `kubeconfig_invalid`,
            `kubeconfig_unsafe`, `validation_error`, `certificate_invalid`, `endpoint_invalid`,
            `cluster_unreachable`, `cluster_permission_insufficient`.
    """
    with core.database.read() as session:
        project = access.load_project(session, actor, given["project_id"])
        is_taken = session.scalar(
            select(Cluster.id).where(Cluster.project_id == project.id, Cluster.name == given["name"])
        )
    _require_writing(core, actor, project, ("project", project.id))
    taken = f"there is a cluster named {given['name']} in this project already"
    if is_taken:
        raise Problem("conflict", taken)
    cluster_id = new_id("cls")
    try:
        tried = cluster_connection.try_out(core, cluster_connection.parse(core, given))
        report = cluster_connection.report_on(core, tried, given.get("namespace"))
    except Problem as problem:
        with core.database.write() as session:
            detail = {"name": given["name"], "error_key": problem.error_key}
            _tell(core, session, actor, project, cluster_id, {"import_failed": detail}, "failed")
        raise
    cluster = Cluster(
        id=cluster_id,
        project_id=project.id,
        name=given["name"],
        mode="external_managed",
        version=1,
        created_by=actor.id,
        created_at=core.clock.now(),
    )
    cluster_connection.put(core, cluster, tried, report)
    with core.database.write() as session:
        session.add(cluster)
        record.flush(session, taken)
        detail = {
            "name": cluster.name,
            "endpoint": cluster.endpoint,
            "server_version": cluster.server_version,
        }
        told = {"created": detail, "import_succeeded": detail}
        _tell(core, session, actor, project, cluster.id, told, _status_of(cluster))
    return _show(cluster)


def list_(core: Core, actor: Actor, filters: Mapping[str, Any], page: PageRequest) -> pages.Page:
    """List clusters that the actor may read. Filters: `project_id`, `name`, `status`, `expires_before` (of the
    credential; a datetime). Sorted by `credential_expires_at`, one that does not say when comes last."""
    query = access.visible(select(Cluster), actor, Permission.CLUSTER_READ, Cluster.project_id)
    with core.database.read() as session:
        if filters.get("project_id"):
            project = access.load_project(session, actor, filters["project_id"])
            query = query.where(Cluster.project_id == project.id)
        for name in ("name", "status"):
            if filters.get(name):
                query = query.where(getattr(Cluster, name) == filters[name])
        before: datetime | None = filters.get("expires_before")
        if before:
            query = query.where(Cluster.credential_expires_at < before)
        sortable = {
            "name": Cluster.name,
            "created_at": Cluster.created_at,
            "credential_expires_at": Cluster.expiry,
        }
        return pages.fetch_page(session, query, page, sortable, Cluster.id, _show, "name")


def get(core: Core, actor: Actor, cluster_id: str) -> dict[str, Any]:
    """Return a cluster, with what followed its installs. Raises Problem `cluster_not_found`, `permission_denied`."""
    cluster = readable(core, actor, cluster_id)
    with core.database.read() as session:
        return {
            **_show(cluster),
            "post_tasks": tasks.following(session, InstallTask.cluster_id == cluster_id),
        }


def test_connection(core: Core, actor: Actor, cluster_id: str, namespace: str | None) -> dict[str, Any]:
    """Connect with what is kept and return what was found: version, latency, expiry, what the credential may do.

    Raises:
        Problem: `cluster_not_found`, `permission_denied`, and what is wrong with the connection; then the
            cluster is `failed`.
    """
    cluster, project = _load_for(core, actor, cluster_id, Permission.CLUSTER_WRITE)
    failure = None
    try:
        tried = cluster_connection.try_out(core, cluster_connection.opened(core, cluster))
        report = cluster_connection.report_on(core, tried, namespace)
    except Problem as problem:
        failure, report = problem, cluster_connection.report_of(problem, cluster)
    with core.database.write() as session:
        now = session.get(Cluster, cluster_id)
        # A connection that was changed meanwhile is not the one that was tested.
        if now is not None and now.version == cluster.version:
            cluster_connection.note(core, now, report)
            if failure is None:
                action, status = "connection_test_succeeded", _status_of(now)
                names = ("server_version", "lacking")
            else:
                action, status = "connection_test_failed", "failed"
                names = ("error_key", "detail")
            told = {"name": now.name} | {name: report[name] for name in names}
            _tell(core, session, actor, project, cluster_id, {action: told}, status)
    if failure is not None:
        raise failure
    return {"cluster_id": cluster_id, **report}


def set_connection(core: Core, actor: Actor, cluster_id: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Reach a cluster in another way from now on. Every target on it is looked at again, and those to which
    releases can no longer be made are marked; they are answered as `targets_failing`.

    Raises:
        Problem: `cluster_not_found`, `permission_denied`, what `import_` says of a connection, `conflict` (it was
            changed meanwhile). What is kept stays then.
    """
    cluster, project = _load_for(core, actor, cluster_id, Permission.CLUSTER_WRITE)
    access.require(core, actor, Permission.CREDENTIAL_WRITE, project, about=("cluster", cluster_id))
    with core.database.read() as session:
        targets = cluster_change.targets_of(session, cluster_id)
    try:
        connection = cluster_connection.parse(core, given)
        change = cluster_change.prepare(core, cluster, connection, given.get("namespace"), targets)
    except Problem as problem:
        with core.database.write() as session:
            failed = {"name": cluster.name, "error_key": problem.error_key, "detail": problem.detail}
            _tell(core, session, actor, project, cluster_id, {"connection_test_failed": failed}, "failed")
        raise
    with core.database.write() as session:
        now = session.get(Cluster, cluster_id)
        if now is None:
            raise Problem("conflict", "the cluster was deleted meanwhile")
        # Whoever says how a cluster is reached has the last word, also where it was reached through a VIP.
        now.direct_endpoint = None
        told, failing = cluster_change.write(core, session, now, change)
        events.append(session, actor, core.clock.now(), told)
    return {**_show(now), "targets_failing": failing}


def delete(core: Core, actor: Actor, cluster_id: str) -> None:
    """Forget a cluster and its credential. Raises Problem `cluster_not_found`, `permission_denied`,
    `resource_in_use` (a target is on it, or it has a network entry)."""
    _, project = _load_for(core, actor, cluster_id, Permission.CLUSTER_WRITE)
    with core.database.write() as session:
        cluster, _ = _load(session, cluster_id, actor)
        users = cluster_change.targets_of(session, cluster_id)
        if users:
            names = ", ".join(target.name for target in users)
            raise Problem("resource_in_use", f"targets are on cluster {cluster.name}: {names}")
        network_entries.forget(session, cluster)
        tasks.forget(session, cert_rotations.SUBJECT, cluster)
        record.remove(session, cluster, f"cluster {cluster.name} is used still")
        record.tell(
            core, session, actor, "resource.deleted", ("cluster", cluster_id), project, name=cluster.name
        )


def readable(core: Core, actor: Actor, cluster_id: str) -> Cluster:
    """Return a cluster that the actor may read. Raises Problem `cluster_not_found`, `permission_denied`."""
    return _load_for(core, actor, cluster_id, Permission.CLUSTER_READ)[0]


def named(session: Session, project: Project, word: str) -> Cluster:
    """Return a project's cluster by id or name. Raises Problem `cluster_not_found`."""
    cluster = session.scalar(
        select(Cluster).where(Cluster.project_id == project.id, (Cluster.id == word) | (Cluster.name == word))
    )
    if cluster is None:
        raise Problem("cluster_not_found", f"there is no cluster {word} in this project")
    return cluster


def _load_for(core: Core, actor: Actor, cluster_id: str, permission: Permission) -> tuple[Cluster, Project]:
    with core.database.read() as session:
        cluster, project = _load(session, cluster_id, actor)
    access.require(core, actor, permission, project, about=("cluster", cluster_id))
    return cluster, project


def _load(session: Session, cluster_id: str, actor: Actor) -> tuple[Cluster, Project]:
    try:
        return access.load(session, Cluster, cluster_id, actor)
    except Problem:
        raise Problem("cluster_not_found", f"there is no cluster {cluster_id}") from None


def _require_writing(core: Core, actor: Actor, project: Project, about: tuple[str, str]) -> None:
    access.require(core, actor, Permission.CLUSTER_WRITE, project, about=about)
    access.require(core, actor, Permission.CREDENTIAL_WRITE, project, about=about)


def _status_of(cluster: Cluster) -> str:
    return "warning" if cluster.insecure_skip_tls_verify else "success"


def _tell(
    core: Core,
    session: Session,
    actor: Actor,
    project: Project,
    cluster_id: str,
    told: Mapping[str, Mapping[str, Any]],
    status: str,
) -> None:
    """Write `cluster.*` events: action -> detail. The last thing in its transaction."""
    written = [
        NewEvent(
            f"cluster.{action}", "cluster", cluster_id, status=status, project_id=project.id,
            team_id=project.team_id, detail=detail,
        )
        for action, detail in told.items()
    ]  # fmt: skip
    events.append(session, actor, core.clock.now(), written)


def _show(cluster: Cluster) -> dict[str, Any]:
    return {
        "id": cluster.id,
        "project_id": cluster.project_id,
        "name": cluster.name,
        "mode": cluster.mode,
        "endpoint": cluster.endpoint,
        "direct_endpoint": cluster.direct_endpoint,
        "has_ca": cluster.ca is not None,
        "insecure_skip_tls_verify": cluster.insecure_skip_tls_verify,
        "warning": rules.UNVERIFIED if cluster.insecure_skip_tls_verify else None,
        "credential_kind": cluster.credential_kind,
        "credential_expires_at": views.moment(cluster.credential_expires_at),
        "server_version": cluster.server_version,
        "status": cluster.status,
        "last_check": cluster.last_check,
        "last_checked_at": views.moment(cluster.last_checked_at),
        "certificates_expire_at": views.moment(cluster.certificates_expire_at),
        "version": cluster.version,
        "created_by": cluster.created_by,
        "created_at": views.moment(cluster.created_at),
    }
