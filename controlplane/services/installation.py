# SPDX-License-Identifier: Apache-2.0
"""The first administrator of an installation: made where nobody could have been asked for permission."""

from __future__ import annotations

from sqlalchemy import func, select

from controlplane.domain import token as tokens
from controlplane.domain.identifier import new_id
from controlplane.domain.permission import system_actor
from controlplane.services.core import Core
from controlplane.store import events
from controlplane.store.events import NewEvent
from controlplane.store.tables import Binding, Token, User


def first_admin(core: Core, name: str) -> dict[str, str] | None:
    """Make a user with role `admin` everywhere and a token: `{user_id, user, token}`; None where users are."""
    now = core.clock.now()
    made = tokens.new_token()
    user = User(id=new_id("usr"), name=name, created_at=now)
    token = Token(
        id=new_id("tok"), user_id=user.id, name="init", prefix=made.prefix, secret_hash=made.secret_hash,
        source="cli", created_at=now,
    )  # fmt: skip
    binding = Binding(
        id=new_id("bnd"),
        subject_type="user",
        subject_id=user.id,
        role="admin",
        scope_type="global",
        created_at=now,
    )
    with core.database.write() as session:
        if session.scalar(select(func.count()).select_from(User)):
            return None
        session.add(user)
        session.flush()
        session.add_all([token, binding])
        told = [
            NewEvent("access.token_created", "token", token.id, detail={"user": name, "prefix": made.prefix}),
            NewEvent("access.role_bound", "binding", binding.id, detail={"user": name, "role": "admin"}),
        ]
        events.append(session, system_actor("workstation"), now, told)
    return {"user_id": user.id, "user": name, "token": made.text}
