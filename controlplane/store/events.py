# SPDX-License-Identifier: Apache-2.0
"""The one writer of events: gives each its seq and its hash, in the transaction of what it tells.

The update of the one row of `stream_head` serialises the transactions that write events from that moment
until they commit. So seq order is commit order, a reader that resumes after seq N misses nothing, and the
chain has no gap. Write events last in a transaction: what comes after them is done under that lock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Session

from controlplane.domain.event import ACTIONS, GENESIS, STATUSES, chain_hash
from controlplane.domain.identifier import new_id
from controlplane.domain.permission import Actor
from controlplane.store.tables import Event, StreamHead


@dataclass(frozen=True)
class NewEvent:
    """An event before it has its place in the stream. `occurred_at` None: the time of writing."""

    action: str
    resource_type: str
    resource_id: str
    status: str = "success"
    project_id: str | None = None
    team_id: str | None = None
    environment_id: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    occurred_at: datetime | None = None


def rfc3339(moment: datetime) -> str:
    """Return a UTC time as `2026-01-31T12:00:00.123456Z`: the text that the chain's hash covers."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def append(session: Session, actor: Actor, now: datetime, events: Sequence[NewEvent]) -> list[int]:
    """Write events in order and return their seqs.

    Raises:
        ValueError: an action or status that the design does not name; a fault of ours.
    """
    if not events:
        return []
    head = _take_head(session, len(events))
    rows = []
    previous, seq = head.hash, head.seq - len(events)
    for new in events:
        if new.action not in ACTIONS or new.status not in STATUSES:
            raise ValueError(f"no such event: {new.action} {new.status}")
        seq += 1
        row = _row(new, actor, now, seq)
        previous = row["hash"] = chain_hash(previous, {**row, "occurred_at": rfc3339(row["occurred_at"])})
        rows.append(row)
    session.execute(insert(Event), rows)
    session.execute(update(StreamHead).where(StreamHead.id == 1).values(hash=previous))
    return [row["seq"] for row in rows]


def _take_head(session: Session, count: int) -> StreamHead:
    """Advance the head by `count`; from here to the commit no other transaction can."""
    advance = (
        update(StreamHead)
        .where(StreamHead.id == 1)
        .values(seq=StreamHead.seq + count)
        .execution_options(synchronize_session=False)
    )
    if session.execute(advance).rowcount == 0:  # type: ignore[attr-defined]
        # The first event of an installation. Two at once: one makes the row, the other waits for it.
        insert_once = sqlite_insert if session.get_bind().dialect.name == "sqlite" else postgresql_insert
        session.execute(insert_once(StreamHead).values(id=1, seq=0, hash=GENESIS).on_conflict_do_nothing())
        session.execute(advance)
    return session.execute(
        select(StreamHead).where(StreamHead.id == 1).execution_options(populate_existing=True)
    ).scalar_one()


def _row(new: NewEvent, actor: Actor, now: datetime, seq: int) -> dict[str, Any]:
    return {
        "seq": seq,
        "event_id": new_id("evt"),
        "action": new.action,
        "resource_type": new.resource_type,
        "resource_id": new.resource_id,
        "project_id": new.project_id,
        "team_id": new.team_id,
        "environment_id": new.environment_id,
        "actor_id": actor.id,
        "actor_type": actor.type,
        "source": actor.source,
        "status": new.status,
        "occurred_at": new.occurred_at or now,
        "request_id": actor.request_id,
        "detail": dict(new.detail),
    }


def as_dict(event: Event) -> dict[str, Any]:
    """Return an event as it is shown and as its hash covers it."""
    return {
        "seq": event.seq,
        "event_id": event.event_id,
        "action": event.action,
        "resource_type": event.resource_type,
        "resource_id": event.resource_id,
        "project_id": event.project_id,
        "team_id": event.team_id,
        "environment_id": event.environment_id,
        "actor_id": event.actor_id,
        "actor_type": event.actor_type,
        "source": event.source,
        "status": event.status,
        "occurred_at": rfc3339(event.occurred_at),
        "request_id": event.request_id,
        "detail": event.detail,
    }


def first_break(events: Iterable[Event], previous: str = GENESIS, seq: int = 0) -> int | None:
    """Return the seq at which the chain first breaks (a gap or a wrong hash), or None."""
    for event in events:
        if event.seq != seq + 1 or chain_hash(previous, as_dict(event)) != event.hash:
            return seq + 1
        previous, seq = event.hash, event.seq
    return None
