# SPDX-License-Identifier: Apache-2.0
"""Keyset paging: a page costs the same at the end of a list as at its beginning."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, QueryableAttribute, Session

from controlplane.domain.errors import Problem

LIMIT = 50
MOST = 500
COUNT_UP_TO = 10_000


@dataclass(frozen=True)
class PageRequest:
    """What a list call asks for. `sort` is a column's name, with `-` before it for falling order."""

    limit: int = LIMIT
    cursor: str | None = None
    sort: str | None = None


Page = dict[str, Any]


def fetch_page(
    session: Session,
    query: Select[Any],
    request: PageRequest,
    sortable: Mapping[str, QueryableAttribute[Any]],
    unique: InstrumentedAttribute[Any],
    show: Callable[[Any], dict[str, Any]],
    default_sort: str,
) -> Page:
    """Return `{items, next, total_estimate}`.

    `sortable` maps the names a caller may sort by to non-null columns; `unique` breaks ties. The estimate
    is exact up to 10,000 and stays there above: counting a million rows for a page of 50 is not worth it.

    Raises:
        Problem: `validation_error` for an unknown sort, a bad cursor or limit.
    """
    sort = request.sort or default_sort
    is_falling, name = sort.startswith("-"), sort.removeprefix("-")
    if name not in sortable:
        raise Problem("validation_error", errors={"sort": [f"must be one of {', '.join(sortable)}"]})
    if not 1 <= request.limit <= MOST:
        raise Problem("validation_error", errors={"limit": [f"must be from 1 to {MOST}"]})
    column = sortable[name]
    total = session.scalar(select(func.count()).select_from(query.limit(COUNT_UP_TO).subquery()))
    ordered = query.order_by(*(part.desc() if is_falling else part.asc() for part in (column, unique)))
    if request.cursor:
        ordered = ordered.where(
            _beyond(column, unique, is_falling, _read_cursor(request.cursor, sort, column, unique))
        )
    rows = list(session.scalars(ordered.limit(request.limit + 1)))
    more = len(rows) > request.limit
    rows = rows[: request.limit]
    return {
        "items": [show(row) for row in rows],
        "next": _write_cursor(sort, rows[-1], column, unique) if more else None,
        "total_estimate": total or 0,
    }


def _beyond(
    column: QueryableAttribute[Any],
    unique: InstrumentedAttribute[Any],
    is_falling: bool,
    at: Sequence[Any],
) -> Any:
    value, tie = at
    if isinstance(value, dict):
        value = datetime.fromisoformat(value["time"])
    if is_falling:
        return or_(column < value, and_(column == value, unique < tie))
    return or_(column > value, and_(column == value, unique > tie))


def _write_cursor(
    sort: str, row: Any, column: QueryableAttribute[Any], unique: InstrumentedAttribute[Any]
) -> str:
    value = getattr(row, column.key)
    if isinstance(value, datetime):
        value = {"time": value.isoformat()}
    text = json.dumps([sort, value, getattr(row, unique.key)])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_cursor(
    cursor: str, sort: str, column: QueryableAttribute[Any], unique: InstrumentedAttribute[Any]
) -> Sequence[Any]:
    try:
        read = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        was, value, tie = read
        if was != sort or not _fits(column, value) or not _fits(unique, tie):
            raise ValueError
    except (ValueError, KeyError, TypeError, OverflowError):
        raise Problem("validation_error", errors={"cursor": ["is not a cursor of this list"]}) from None
    return value, tie


def _fits(column: QueryableAttribute[Any], value: object) -> bool:
    """Say whether the database can compare the column with it.

    Raises:
        ValueError, KeyError, TypeError, OverflowError
    """
    kind = column.type.python_type
    if isinstance(value, dict):
        time = datetime.fromisoformat(value["time"])
        return kind is datetime and time.tzinfo is not None and bool(time.astimezone(UTC))
    if isinstance(value, str):
        value.encode()
        return kind is str and "\0" not in value
    return kind is int and type(value) is int and abs(value) < 2**63
