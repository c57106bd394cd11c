# SPDX-License-Identifier: Apache-2.0
"""API tokens: shown once when they are made, kept as a hash, revoked by whoever they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from controlplane.domain import token as tokens
from controlplane.domain.errors import Problem
from controlplane.domain.identifier import new_id
from controlplane.domain.permission import Actor, Permission
from controlplane.services import access, record, users, views
from controlplane.services.core import Core
from controlplane.store import pages
from controlplane.store.pages import PageRequest
from controlplane.store.tables import Token

SOURCES = ("api", "cli", "ci", "ui", "ai", "awx")
LONGEST_LIFE = timedelta(days=3653)


def create(core: Core, actor: Actor, given: Mapping[str, Any]) -> dict[str, Any]:
    """Make a token, for oneself or (an administrator) for another, and return it with its text: `token`.

    One that is made for oneself is no stronger than the one it was asked with: it has its scopes or fewer,
    and ends with it or before.

    Raises:
        Problem: `validation_error`, `not_found` (the user), `permission_denied`.
    """
    user_id = given.get("user_id") or actor.id
    if user_id != actor.id:
        access.require(core, actor, Permission.ADMIN, None, about=("user", user_id))
    scopes = _scopes(core, actor, given.get("scopes"))
    now = core.clock.now()
    made = tokens.new_token()
    token = Token(
        id=new_id("tok"),
        user_id=user_id,
        name=given["name"],
        prefix=made.prefix,
        secret_hash=made.secret_hash,
        scopes=scopes,
        source=given.get("source", "api"),
        created_at=now,
        expires_at=_end(given, now),
    )
    with core.database.write() as session:
        user = users.load(session, user_id)
        asked_with = session.get(Token, actor.token_id) if actor.token_id and user_id == actor.id else None
        if asked_with is not None and asked_with.expires_at is not None:
            token.expires_at = min(filter(None, (token.expires_at, asked_with.expires_at)))
        session.add(token)
        session.flush()
        detail = {"name": token.name, "user": user.name, "prefix": token.prefix, "scopes": scopes or []}
        record.tell(core, session, actor, "access.token_created", ("token", token.id), None, **detail)
    return {**_show(token), "token": made.text}


def list_(core: Core, actor: Actor, filters: Mapping[str, Any], page: PageRequest) -> pages.Page:
    """List one's own tokens; an administrator lists everybody's. Filters: `user_id`, `is_revoked`."""
    query = select(Token)
    if not actor.may(Permission.ADMIN):
        query = query.where(Token.user_id == actor.id)
    if filters.get("user_id"):
        query = query.where(Token.user_id == filters["user_id"])
    if filters.get("is_revoked") is not None:
        is_revoked = Token.revoked_at.is_not(None) if filters["is_revoked"] else Token.revoked_at.is_(None)
        query = query.where(is_revoked)
    with core.database.read() as session:
        sortable = {"name": Token.name, "created_at": Token.created_at}
        return pages.fetch_page(session, query, page, sortable, Token.id, _show, "-created_at")


def get(core: Core, actor: Actor, token_id: str) -> dict[str, Any]:
    """Return a token without its text. Raises Problem `not_found`, also for another's."""
    with core.database.read() as session:
        return _show(_load(session, actor, token_id))


def revoke(core: Core, actor: Actor, token_id: str) -> None:
    """End a token at once; what was revoked stays listed. Raises Problem `not_found`, also for another's."""
    with core.database.write() as session:
        token = _load(session, actor, token_id)
        if token.revoked_at is not None:
            return
        token.revoked_at = core.clock.now()
        session.flush()
        detail = {"name": token.name, "prefix": token.prefix, "user_id": token.user_id}
        record.tell(core, session, actor, "access.token_revoked", ("token", token.id), None, **detail)


def _load(session: Session, actor: Actor, token_id: str) -> Token:
    token = session.get(Token, token_id)
    if token is None or (token.user_id != actor.id and not actor.may(Permission.ADMIN)):
        raise Problem("not_found", f"there is no token {token_id}")
    return token


def _scopes(core: Core, actor: Actor, wanted: list[str] | None) -> list[str] | None:
    """Return the scopes of a new token: none wider than those of the one that it is asked with."""
    if actor.ceiling is None or Permission.ADMIN in actor.ceiling:
        return sorted(set(wanted)) if wanted else None
    if not wanted:
        return sorted(actor.ceiling)
    wider = sorted(set(wanted) - actor.ceiling)
    if wider:
        raise Problem(
            "permission_denied",
            f"the token that you ask with does not have {', '.join(wider)}",
            extra={"permission": wider[0]},
        )
    return sorted(set(wanted))


def _end(given: Mapping[str, Any], now: datetime) -> datetime | None:
    seconds, moment = given.get("expires_in_seconds"), given.get("expires_at")
    if seconds and moment:
        raise Problem("validation_error", errors={"expires_at": ["give it or expires_in_seconds, not both"]})
    if moment and not now < moment < now + LONGEST_LIFE:
        raise Problem(
            "validation_error", errors={"expires_at": ["must be in the future, and within ten years"]}
        )
    return now + timedelta(seconds=seconds) if seconds else moment


def _show(token: Token) -> dict[str, Any]:
    return {
        "id": token.id,
        "user_id": token.user_id,
        "name": token.name,
        "prefix": token.prefix,
        "scopes": token.scopes or [],
        "source": token.source,
        "created_at": views.moment(token.created_at),
        "expires_at": views.moment(token.expires_at),
        "revoked_at": views.moment(token.revoked_at),
        "last_used_at": views.moment(token.last_used_at),
    }
