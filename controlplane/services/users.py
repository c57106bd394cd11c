# SPDX-License-Identifier: Apache-2.0
"""Users: people and machine accounts. A password goes in and only its argon2id hash is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete as sql_delete
from sqlalchemy import select
from sqlalchemy.orm import Session

from controlplane.adapters import passwords
from controlplane.domain.errors import Problem
from controlplane.domain.identifier import new_id
from controlplane.domain.permission import Actor, Permission
from controlplane.services import access, bindings, record, views
from controlplane.services.core import Core
from controlplane.store import pages
from controlplane.store.pages import PageRequest
from controlplane.store.tables import Token, User


def create(core: Core, actor: Actor, given: Mapping[str, Any]) -> dict[str, Any]:
    """Make a user who holds no role yet. Raises Problem `permission_denied`, `conflict`."""
    access.require(core, actor, Permission.ADMIN, None, about=("user", ""))
    user = User(
        id=new_id("usr"),
        name=given["name"],
        display_name=given.get("display_name", ""),
        password_hash=_hash(given.get("password")),
        is_disabled=False,
        created_at=core.clock.now(),
    )
    with core.database.write() as session:
        session.add(user)
        record.flush(session, f"there is a user named {user.name} already")
        record.tell(core, session, actor, "resource.created", ("user", user.id), None, name=user.name)
    return show(user)


def list_(core: Core, actor: Actor, filters: Mapping[str, Any], page: PageRequest) -> pages.Page:
    """List users, for whoever administers anything: they have to be named to be given a role. Filter: `name`."""
    _require_any_admin(core, actor)
    query = select(User)
    if filters.get("name"):
        query = query.where(User.name == filters["name"])
    with core.database.read() as session:
        sortable = {"name": User.name, "created_at": User.created_at}
        return pages.fetch_page(session, query, page, sortable, User.id, show, "name")


def get(core: Core, actor: Actor, user_id: str) -> dict[str, Any]:
    """Return a user; anybody may ask for themselves. Raises Problem `not_found`, `permission_denied`."""
    if user_id != actor.id:
        _require_any_admin(core, actor)
    with core.database.read() as session:
        return show(load(session, user_id))


def update(core: Core, actor: Actor, user_id: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Change what is given; a password that is None is removed, and tokens are the only way in.

    Raises:
        Problem: `not_found`, `permission_denied`, `conflict` (nobody would administer everything any more).
    """
    access.require(core, actor, Permission.ADMIN, None, about=("user", user_id))
    hashed = {"password_hash": _hash(given["password"])} if "password" in given else {}
    with core.database.write() as session:
        user = load(session, user_id)
        plain = {name: given[name] for name in ("display_name", "is_disabled") if name in given}
        for name, value in {**plain, **hashed}.items():
            setattr(user, name, value)
        session.flush()
        bindings.keep_an_administrator(session)
        detail = {"name": user.name, "fields": sorted(given)}
        record.tell(core, session, actor, "resource.updated", ("user", user.id), None, **detail)
    return show(user)


def delete(core: Core, actor: Actor, user_id: str) -> None:
    """Delete a user with their tokens and bindings; what they did stays told under their id.

    Raises:
        Problem: `not_found`, `permission_denied`, `conflict` (nobody would administer everything any more).
    """
    access.require(core, actor, Permission.ADMIN, None, about=("user", user_id))
    with core.database.write() as session:
        user = load(session, user_id)
        name = user.name
        own = list(session.scalars(select(Token.id).where(Token.user_id == user_id)))
        told = bindings.drop_subjects(session, [user_id, *own])
        session.execute(sql_delete(Token).where(Token.user_id == user_id))
        session.delete(user)
        session.flush()
        bindings.keep_an_administrator(session)
        detail = {"name": name, "unbound": told, "tokens": len(own)}
        record.tell(core, session, actor, "resource.deleted", ("user", user_id), None, **detail)


def load(session: Session, user_id: str) -> User:
    """Return a user. Raises Problem `not_found`."""
    user = session.get(User, user_id)
    if user is None:
        raise Problem("not_found", f"there is no user {user_id}")
    return user


def show(user: User) -> dict[str, Any]:
    """Return a user as others may see them."""
    return {
        "id": user.id,
        "name": user.name,
        "display_name": user.display_name,
        "is_disabled": user.is_disabled,
        "has_password": user.password_hash is not None,
        "created_at": views.moment(user.created_at),
    }


def _require_any_admin(core: Core, actor: Actor) -> None:
    if not bindings.administers_anything(actor):
        access.require(core, actor, Permission.ADMIN, None, about=("user", ""))


def _hash(password: str | None) -> str | None:
    return passwords.hash_password(password) if password else None
