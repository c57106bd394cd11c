# SPDX-License-Identifier: Apache-2.0
"""Hosts: how they are reached, and the key that each was seen to have before anything is sent to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from controlplane.domain import host as rules
from controlplane.domain.errors import Problem
from controlplane.domain.identifier import new_id
from controlplane.domain.permission import Actor, Permission
from controlplane.ports.probe import SshAccess
from controlplane.services import access, record, views
from controlplane.services.core import Core
from controlplane.store import pages
from controlplane.store.pages import PageRequest
from controlplane.store.tables import Cluster, Environment, EnvironmentNode, Host, NetworkEntry, Project

SECRETS = ("private_key", "password", "become_password")
PLAIN = ("name", "address", "port", "user", "become", "jump_host_id")


def run_access(core: Core, session: Session, host: Host) -> SshAccess:
    """Return how a host is reached, with its credentials opened and its pinned key.

    Raises:
        Problem: `host_key_unconfirmed` for it or the host it is reached through.
    """
    if host.host_key_status != "pinned" or host.host_key is None:
        raise Problem("host_key_unconfirmed", f"the key of host {host.name} was not confirmed")
    return SshAccess(
        address=host.address,
        port=host.port,
        user=host.user,
        private_key=_open(core, host.private_key_cipher),
        password=_open(core, host.password_cipher),
        host_key=host.host_key,
        jump=_jump(core, session, host),
    )


def create(core: Core, actor: Actor, given: Mapping[str, Any]) -> dict[str, Any]:
    """Make a host of a project. Its key is not known yet: `fetch_host_key`, then `confirm_host_key`.

    Raises:
        Problem: `validation_error`, `not_found`, `permission_denied`, `conflict` (the name is taken).
    """
    with core.database.read() as session:
        project = access.load_project(session, actor, given["project_id"])
    _require_writing(core, actor, project, ("project", project.id), given)
    _check(given)
    if not given.get("private_key") and not given.get("password"):
        raise Problem("validation_error", errors={"private_key": ["give a private key or a password"]})
    host = Host(
        id=new_id("hst"),
        project_id=project.id,
        port=22,
        become=False,
        version=1,
        host_key_status="unknown",
        created_at=core.clock.now(),
    )
    with core.database.write() as session:
        _set(core, session, host, given)
        session.add(host)
        record.flush(session, f"there is a host named {host.name} in this project already")
        record.tell(
            core, session, actor, "resource.created", ("host", host.id), project, **_told(host, given)
        )
    return _show(host)


def list_(core: Core, actor: Actor, filters: Mapping[str, Any], page: PageRequest) -> pages.Page:
    """List hosts of the projects that the actor may read. Filters: `project_id`, `name`, `host_key_status`."""
    query = access.visible(select(Host), actor, Permission.ENVIRONMENT_READ, Host.project_id)
    with core.database.read() as session:
        if filters.get("project_id"):
            query = query.where(
                Host.project_id == access.load_project(session, actor, filters["project_id"]).id
            )
        for name in ("name", "host_key_status"):
            if filters.get(name):
                query = query.where(getattr(Host, name) == filters[name])
        sortable = {"name": Host.name, "address": Host.address, "created_at": Host.created_at}
        return pages.fetch_page(session, query, page, sortable, Host.id, _show, "name")


def get(core: Core, actor: Actor, host_id: str) -> dict[str, Any]:
    """Return a host. Raises Problem `not_found`, `permission_denied`."""
    return _show(_readable(core, actor, host_id)[0])


def update(core: Core, actor: Actor, host_id: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Change what is given; a secret that is given as None is removed. Another address or port loses the pin.

    Raises:
        Problem: `validation_error`, `not_found`, `permission_denied`, `conflict`.
    """
    with core.database.read() as session:
        _, project = access.load(session, Host, host_id, actor)
    _require_writing(core, actor, project, ("host", host_id), given)
    _check(given)
    with core.database.write() as session:
        host, project = access.load(session, Host, host_id, actor)
        was = (host.address, host.port)
        _set(core, session, host, given)
        if not host.private_key_cipher and not host.password_cipher:
            raise Problem("validation_error", errors={"private_key": ["a key or a password has to stay"]})
        if (host.address, host.port) != was:
            host.host_key = host.host_key_fingerprint = None
            host.host_key_status = "unknown"
        host.version += 1
        record.flush(session, f"there is a host named {host.name} in this project already")
        record.tell(
            core, session, actor, "resource.updated", ("host", host.id), project, **_told(host, given)
        )
    return _show(host)


def delete(core: Core, actor: Actor, host_id: str) -> None:
    """Delete a host. Raises Problem `not_found`, `permission_denied`, `resource_in_use`."""
    _writable(core, actor, host_id)
    with core.database.write() as session:
        host, project = access.load(session, Host, host_id, actor)
        users = _users(session, host_id)
        if users:
            raise Problem("resource_in_use", f"host {host.name} is used by {', '.join(users)}")
        record.remove(session, host, f"host {host.name} is used still")
        record.tell(core, session, actor, "resource.deleted", ("host", host_id), project, name=host.name)


def fetch_host_key(core: Core, actor: Actor, host_id: str) -> dict[str, Any]:
    """Ask the host for its key and keep it to be confirmed. A key that is pinned and shown again stays pinned.

    Returns the host, with `fingerprint`, `key_type`.

    Raises:
        Problem: `not_found`, `permission_denied`, `ssh_unreachable`, `host_key_unconfirmed` (of the jump host).
    """
    host, _ = _writable(core, actor, host_id)
    with core.database.read() as session:
        way = SshAccess(host.address, host.port, host.user, jump=_jump(core, session, host))
    seen = core.probe.host_key(way)
    with core.database.write() as session:
        now, project = access.load(session, Host, host_id, actor)
        if (now.address, now.port) != (host.address, host.port):
            raise Problem("conflict", "the host was given another address meanwhile")
        if now.host_key_status != "pinned" or now.host_key_fingerprint != seen.fingerprint:
            lost = now.host_key_fingerprint if now.host_key_status == "pinned" else None
            now.host_key, now.host_key_fingerprint, now.host_key_status = (
                seen.line,
                seen.fingerprint,
                "fetched",
            )
            now.version += 1
            detail = {"name": now.name, "fetched": seen.fingerprint} | ({"unpinned": lost} if lost else {})
            record.tell(core, session, actor, "resource.updated", ("host", host_id), project, **detail)
    return {**_show(now), "fingerprint": seen.fingerprint, "key_type": seen.line.split()[0]}


def confirm_host_key(core: Core, actor: Actor, host_id: str, fingerprint: str) -> dict[str, Any]:
    """Pin the key that was fetched, if it is the one with this fingerprint (`SHA256:...`).

    Raises:
        Problem: `not_found`, `permission_denied`, `host_key_unconfirmed` (none was fetched),
            `ssh_host_key_mismatch` (another was).
    """
    _writable(core, actor, host_id)
    with core.database.write() as session:
        host, project = access.load(session, Host, host_id, actor)
        if host.host_key is None:
            raise Problem(
                "host_key_unconfirmed", "no key was fetched yet", hint="Fetch the host's key first."
            )
        if host.host_key_fingerprint != fingerprint:
            raise Problem(
                "ssh_host_key_mismatch", f"the host showed {host.host_key_fingerprint}; nothing was pinned"
            )
        if host.host_key_status != "pinned":
            host.host_key_status = "pinned"
            host.version += 1
            session.flush()
            record.tell(
                core, session, actor, "resource.host_key_pinned", ("host", host_id), project,
                name=host.name, fingerprint=fingerprint,
            )  # fmt: skip
    return _show(host)


def check(core: Core, actor: Actor, host_id: str) -> dict[str, Any]:
    """Log in and leave again.

    Raises:
        Problem: `not_found`, `permission_denied`, `host_key_unconfirmed`, `ssh_unreachable`, `ssh_auth_failed`,
            `ssh_host_key_mismatch`.
    """
    host, _ = _writable(core, actor, host_id)
    with core.database.read() as session:
        way = run_access(core, session, host)
    core.probe.check(way)
    return {"host_id": host_id, "reachable": True}


def _readable(core: Core, actor: Actor, host_id: str) -> tuple[Host, Project]:
    with core.database.read() as session:
        host, project = access.load(session, Host, host_id, actor)
    access.require(core, actor, Permission.ENVIRONMENT_READ, project, about=("host", host_id))
    return host, project


def _writable(core: Core, actor: Actor, host_id: str) -> tuple[Host, Project]:
    with core.database.read() as session:
        host, project = access.load(session, Host, host_id, actor)
    access.require(core, actor, Permission.ENVIRONMENT_WRITE, project, about=("host", host_id))
    return host, project


def _require_writing(
    core: Core, actor: Actor, project: Project, about: tuple[str, str], given: Mapping[str, Any]
) -> None:
    access.require(core, actor, Permission.ENVIRONMENT_WRITE, project, about=about)
    # Whoever chooses where a stored secret is sent to could read it there.
    if any(name in given for name in (*SECRETS, "address", "port", "user", "jump_host_id")):
        access.require(core, actor, Permission.CREDENTIAL_WRITE, project, about=about)


def _check(given: Mapping[str, Any]) -> None:
    errors = rules.errors_of(given)
    if errors:
        raise Problem("validation_error", errors=errors)


def _set(core: Core, session: Session, host: Host, given: Mapping[str, Any]) -> None:
    for name in PLAIN:
        if name in given:
            setattr(host, name, given[name])
    for name in SECRETS:
        if name in given:
            value = given[name]
            setattr(host, f"{name}_cipher", core.vault.encrypt(value.encode()) if value else None)
    if given.get("jump_host_id"):
        _check_way(session, host)
    if host.private_key_cipher is None and _behind(session, host.id):
        raise Problem(
            "validation_error", errors={"private_key": ["other hosts are reached through this one with it"]}
        )


def _check_way(session: Session, host: Host) -> None:
    """Refuse a jump host of another project, one that is the host itself, and a way of more than one jump."""
    with session.no_autoflush:
        jump = session.get(Host, host.jump_host_id)
    reason = None
    if jump is None or jump.project_id != host.project_id:
        reason = "there is no such host in this project"
    elif jump.id == host.id:
        reason = "a host cannot be reached through itself"
    elif jump.jump_host_id is not None:
        reason = "is itself reached through another host"
    elif jump.private_key_cipher is None:
        reason = "a host that others are reached through needs a private key"
    elif _behind(session, host.id):
        reason = "other hosts are reached through this one, so it has to be reached directly"
    if reason:
        raise Problem("validation_error", errors={"jump_host_id": [reason]})


def _jump(core: Core, session: Session, host: Host) -> SshAccess | None:
    if host.jump_host_id is None:
        return None
    return run_access(core, session, session.get_one(Host, host.jump_host_id))


def _users(session: Session, host_id: str) -> list[str]:
    environments = session.scalars(
        select(Environment.name)
        .join(EnvironmentNode, EnvironmentNode.environment_id == Environment.id)
        .where(EnvironmentNode.host_id == host_id)
    )
    entries = session.execute(
        select(Cluster.name, NetworkEntry.nodes).join(Cluster, Cluster.id == NetworkEntry.cluster_id)
    )
    return [
        *(f"environment {name}" for name in environments),
        *(f"host {name}" for name in _behind(session, host_id)),
        *(
            f"the network entry of cluster {row.name}"
            for row in entries
            if any(node["host_id"] == host_id for node in row.nodes)
        ),
    ]


def _behind(session: Session, host_id: str) -> list[str]:
    """Return the names of the hosts that are reached through this one."""
    with session.no_autoflush:
        return list(session.scalars(select(Host.name).where(Host.jump_host_id == host_id)))


def _told(host: Host, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return for an event what was said of a host: of a secret only that it was set."""
    return {"name": host.name, "fields": sorted(name for name in given if name != "project_id")}


def _open(core: Core, cipher: bytes | None) -> str | None:
    return core.vault.decrypt(cipher).decode() if cipher else None


def _show(host: Host) -> dict[str, Any]:
    return {
        "id": host.id,
        "project_id": host.project_id,
        "name": host.name,
        "address": host.address,
        "port": host.port,
        "user": host.user,
        "become": host.become,
        "jump_host_id": host.jump_host_id,
        "host_key": host.host_key,
        "host_key_fingerprint": host.host_key_fingerprint,
        "host_key_status": host.host_key_status,
        "has_private_key": host.private_key_cipher is not None,
        "has_password": host.password_cipher is not None,
        "has_become_password": host.become_password_cipher is not None,
        "version": host.version,
        "created_at": views.moment(host.created_at),
    }
