# SPDX-License-Identifier: Apache-2.0
"""The inbox's own order, in pages that hold together while tickets are decided between them."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, case, func, literal, or_, select, tuple_
from sqlalchemy.orm import Session

from controlplane.domain.approval import TicketStatus
from controlplane.domain.errors import Problem
from controlplane.services import views
from controlplane.store import pages
from controlplane.store.tables import NEVER, Ticket, UtcDateTime


def fetch(session: Session, query: Select[Any], page: pages.PageRequest, now: datetime) -> pages.Page:
    """Return one page of tickets: pending first, then priority, expiry, age.

    Pending is what was pending when the first page was asked for: a ticket that is decided while somebody turns
    pages keeps its place, so it is neither shown a second time among the decided ones nor moved past the reader.

    Raises:
        Problem: `validation_error`, for a bad cursor or limit.
    """
    if not 1 <= page.limit <= pages.MOST:
        raise Problem("validation_error", errors={"limit": [f"must be from 1 to {pages.MOST}"]})
    asked_at, seen = _read_cursor(page.cursor) if page.cursor else (now, None)
    keys = _keys(asked_at)
    ordered = query.add_columns(*keys).order_by(*keys)
    if seen is not None:
        ordered = ordered.where(
            tuple_(*keys) > tuple_(*(literal(value, key.type) for value, key in zip(seen, keys, strict=True)))
        )
    rows = list(session.execute(ordered.limit(page.limit + 1)))
    total = session.scalar(select(func.count()).select_from(query.limit(pages.COUNT_UP_TO).subquery()))
    more = len(rows) > page.limit
    rows = rows[: page.limit]
    return {
        "items": [views.ticket(row[0]) for row in rows],
        "next": _write_cursor(asked_at, rows[-1][1:]) if more else None,
        "total_estimate": total or 0,
    }


def _keys(asked_at: datetime) -> tuple[ColumnElement[Any], ...]:
    was_pending = or_(Ticket.status == TicketStatus.PENDING, Ticket.decided_at > asked_at)
    return (
        case((was_pending, 0), else_=1),
        Ticket.priority.expression,
        func.coalesce(Ticket.expires_at, literal(NEVER, UtcDateTime())),
        Ticket.created_at.expression,
        Ticket.id.expression,
    )


def _write_cursor(asked_at: datetime, seen: Sequence[Any]) -> str:
    decided, priority, expires_at, created_at, ticket_id = seen
    kept = [
        asked_at.isoformat(),
        decided,
        priority,
        expires_at.isoformat(),
        created_at.isoformat(),
        ticket_id,
    ]
    return base64.urlsafe_b64encode(json.dumps(kept).encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[datetime, Sequence[Any]]:
    try:
        read = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        asked_at, decided, priority, expires_at, created_at, ticket_id = read
        times = [datetime.fromisoformat(text) for text in (asked_at, expires_at, created_at)]
        whole = all(type(number) is int and abs(number) < 2**31 for number in (decided, priority))
        ticket_id.encode()
        if not whole or "\0" in ticket_id or any(time.tzinfo is None for time in times):
            raise ValueError
        times = [time.astimezone(UTC) for time in times]
    except (ValueError, TypeError, AttributeError, OverflowError):
        raise Problem("validation_error", errors={"cursor": ["is not a cursor of this list"]}) from None
    return times[0], (decided, priority, times[1], times[2], ticket_id)
