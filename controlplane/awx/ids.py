# SPDX-License-Identifier: Apache-2.0
"""Numbers for what has names: AWX's clients know everything by an integer that never changes and is never reused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import CompoundSelect, Select, select, union_all
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from controlplane.services.core import Core
from controlplane.store.tables import (
    AwxId,
    Environment,
    Host,
    Project,
    Registry,
    Service,
    Target,
    Team,
    User,
)

# What each kind of numbered things is numbered by.
_UIDS: Mapping[str, Select[Any] | CompoundSelect[Any]] = {
    "organization": select(Team.id.label("uid")),
    "project": select(Project.id.label("uid")),
    "inventory": select(Environment.id.label("uid")),
    "host": select(Host.id.label("uid")),
    "credential": select(Registry.id.label("uid")),
    "user": select(User.id.label("uid")),
    "job_template": union_all(
        select((Service.id + ":" + Target.id).label("uid")).where(
            Service.project_id == Target.project_id, Service.runtime_type == Target.runtime_type
        ),
        select(Environment.id.label("uid")).where(Environment.mode == "platform_managed"),
    ),
}
KINDS = tuple(_UIDS)


def number(core: Core, kinds: Sequence[str]) -> None:
    """Give a number to everything of these kinds that has none yet."""
    if not kinds:
        return
    with core.database.read() as session:
        lacks = session.execute(_which_lack(tuple(kinds))).one()
    for kind, is_lacking in zip(kinds, lacks, strict=True):
        if is_lacking:
            _number(core, kind)


def _number(core: Core, kind: str) -> None:
    once = sqlite_insert if core.database.is_sqlite else postgresql_insert
    with core.database.write() as session:
        found = [{"uid": uid, "kind": kind} for uid in session.scalars(_lacking(kind))]
        if found:
            # Another process may have numbered them between the look and now.
            session.execute(once(AwxId).on_conflict_do_nothing(), found)


def uid_of(session: Any, kind: str, number: int) -> str | None:
    """Return what a number stands for; None where there is no such number of this kind."""
    found: str | None = session.scalar(select(AwxId.uid).where(AwxId.kind == kind, AwxId.id == number))
    return found


@cache
def _which_lack(kinds: tuple[str, ...]) -> Select[Any]:
    """Return the query that says of each kind whether something of it has no number: each list asks it first."""
    each: list[Any] = [_lacking(kind).exists().label(f"lacks_{kind}") for kind in kinds]
    return select(*each)


def _lacking(kind: str) -> Select[Any]:
    named = _UIDS[kind].subquery()
    has_number = select(AwxId.id).where(AwxId.kind == kind, AwxId.uid == named.c.uid).exists()
    return select(named.c.uid).where(~has_number)
