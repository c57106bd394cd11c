# SPDX-License-Identifier: Apache-2.0
"""The chain of events, for those who have to prove something: its head, its check, and a copy of all of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import select

from controlplane.domain.event import GENESIS
from controlplane.domain.permission import Actor, Permission
from controlplane.services import access
from controlplane.services.core import Core
from controlplane.store import events
from controlplane.store.tables import Event, StreamHead

BATCH = 1000


def head(core: Core, actor: Actor) -> dict[str, Any]:
    """Return `{seq, hash}` of the newest event: kept elsewhere, it proves later that nothing was rewritten."""
    access.require(core, actor, Permission.AUDIT_READ, None, about=("audit", "head"))
    with core.database.read() as session:
        row = session.get(StreamHead, 1)
        return {"seq": row.seq if row else 0, "hash": row.hash if row else GENESIS}


def verify(core: Core, actor: Actor) -> dict[str, Any]:
    """Walk the whole chain: `{is_intact, events, first_break}`; `first_break` is a seq or None."""
    access.require(core, actor, Permission.AUDIT_READ, None, about=("audit", "verify"))
    previous, seq = GENESIS, 0
    for batch in _batches(core):
        broken = events.first_break(batch, previous, seq)
        if broken is not None:
            return {"is_intact": False, "events": seq, "first_break": broken}
        previous, seq = batch[-1].hash, batch[-1].seq
    with core.database.read() as session:
        newest = session.get(StreamHead, 1)
    if newest is not None and newest.seq == seq and newest.hash != previous:
        return {"is_intact": False, "events": seq, "first_break": seq}
    if newest is not None and newest.seq > seq and not _has_grown(core, seq):
        return {"is_intact": False, "events": seq, "first_break": seq + 1}
    return {"is_intact": True, "events": seq, "first_break": None}


def export(core: Core, actor: Actor) -> Iterator[dict[str, Any]]:
    """Yield every event with its hash, in order; memory stays the same however many there are."""
    access.require(core, actor, Permission.AUDIT_READ, None, about=("audit", "export"))
    return ({**events.as_dict(row), "hash": row.hash} for batch in _batches(core) for row in batch)


def _batches(core: Core) -> Iterator[list[Event]]:
    after = 0
    while True:
        with core.database.read() as session:
            batch = list(
                session.scalars(select(Event).where(Event.seq > after).order_by(Event.seq).limit(BATCH))
            )
        if not batch:
            return
        yield batch
        after = batch[-1].seq


def _has_grown(core: Core, seq: int) -> bool:
    with core.database.read() as session:
        return session.scalar(select(Event.seq).where(Event.seq > seq).limit(1)) is not None
