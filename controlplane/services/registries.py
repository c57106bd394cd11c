# SPDX-License-Identifier: Apache-2.0
"""A project's credentials for container registries. The password can be set, and never read again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from controlplane.domain.identifier import new_id
from controlplane.domain.permission import Actor, Permission
from controlplane.services import access, record, views
from controlplane.services.core import Core
from controlplane.store import pages
from controlplane.store.tables import Registry


def create(core: Core, actor: Actor, given: Mapping[str, Any]) -> dict[str, Any]:
    """Keep a credential: `{project_id, server, username, password}`.

    Raises:
        Problem: `not_found`, `permission_denied`, `conflict` (the project has one for this server).
    """
    with core.database.read() as session:
        project = access.load_project(session, actor, given["project_id"])
    access.require(core, actor, Permission.CREDENTIAL_WRITE, project, about=("project", project.id))
    row = Registry(
        id=new_id("reg"),
        project_id=project.id,
        server=given["server"],
        username=given["username"],
        password_cipher=core.vault.encrypt(given["password"].encode()),
        created_at=core.clock.now(),
    )
    with core.database.write() as session:
        session.add(row)
        record.flush(session, f"the project has a credential for {row.server} already")
        record.tell(
            core, session, actor, "resource.created", ("registry", row.id), project, server=row.server
        )
    return _show(row)


def list_(core: Core, actor: Actor, filters: Mapping[str, Any], page: pages.PageRequest) -> pages.Page:
    """List credentials that the actor may know of. Filter: `project_id` (id or name)."""
    query = access.visible(select(Registry), actor, Permission.TARGET_READ, Registry.project_id)
    with core.database.read() as session:
        if filters.get("project_id"):
            query = query.where(
                Registry.project_id == access.load_project(session, actor, filters["project_id"]).id
            )
        sortable = {"server": Registry.server, "created_at": Registry.created_at}
        return pages.fetch_page(session, query, page, sortable, Registry.id, _show, "server")


def get(core: Core, actor: Actor, registry_id: str) -> dict[str, Any]:
    """Return a credential without its password. Raises Problem `not_found`, `permission_denied`."""
    with core.database.read() as session:
        row, project = access.load(session, Registry, registry_id, actor)
    access.require(core, actor, Permission.TARGET_READ, project, about=("registry", registry_id))
    return _show(row)


def update(core: Core, actor: Actor, registry_id: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Change user name or password. Raises Problem `not_found`, `permission_denied`."""
    with core.database.read() as session:
        _row, project = access.load(session, Registry, registry_id, actor)
    access.require(core, actor, Permission.CREDENTIAL_WRITE, project, about=("registry", registry_id))
    with core.database.write() as session:
        row = session.get_one(Registry, registry_id)
        if "username" in given:
            row.username = given["username"]
        if "password" in given:
            row.password_cipher = core.vault.encrypt(given["password"].encode())
        changed = sorted(given)
        record.tell(
            core,
            session,
            actor,
            "resource.updated",
            ("registry", row.id),
            project,
            server=row.server,
            changed=changed,
        )
    return _show(row)


def delete(core: Core, actor: Actor, registry_id: str) -> None:
    """Forget a credential. Raises Problem `not_found`, `permission_denied`."""
    with core.database.read() as session:
        row, project = access.load(session, Registry, registry_id, actor)
    access.require(core, actor, Permission.CREDENTIAL_WRITE, project, about=("registry", registry_id))
    with core.database.write() as session:
        session.delete(session.get_one(Registry, registry_id))
        about = ("registry", registry_id)
        record.tell(core, session, actor, "resource.deleted", about, project, server=row.server)


def for_project(core: Core, session: Session, project_id: str) -> list[dict[str, str]]:
    """Return a project's credentials, opened, for a release spec: `[{server, username, password}]`."""
    query = select(Registry).where(Registry.project_id == project_id).order_by(Registry.server)
    return [
        {
            "server": row.server,
            "username": row.username,
            "password": core.vault.decrypt(row.password_cipher).decode(),
        }
        for row in session.scalars(query)
    ]


def _show(row: Registry) -> dict[str, Any]:
    return {
        "id": row.id,
        "project_id": row.project_id,
        "server": row.server,
        "username": row.username,
        "has_password": True,
        "created_at": views.moment(row.created_at),
    }
