# SPDX-License-Identifier: Apache-2.0
"""Lists as AWX's clients ask for them: filters by field and lookup, `order_by`, numbered pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from flask import request
from sqlalchemy import ColumnElement, Select, String, cast, func, not_, or_

from controlplane.api.parser import check_value
from controlplane.awx.resource import Column, Resource, rows, whole_number
from controlplane.domain.errors import Problem
from controlplane.domain.permission import Actor
from controlplane.services.core import Core

PAGE_SIZE = 25
MOST = 200
_PAGING = frozenset({"page", "page_size", "order_by", "format"})
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")


def page(core: Core, actor: Actor, resource: Resource, narrowed: Select[Any] | None = None) -> dict[str, Any]:
    """Return `{count, next, previous, results}` of what the request's query asks for.

    Raises:
        Problem: `validation_error`, naming the filter, the lookup or the field to sort by that there is not;
            `not_found` for a page behind the last.
    """
    query = resource.select(actor) if narrowed is None else narrowed
    query = query.where(*_conditions(resource))
    number, size = page_asked(PAGE_SIZE, MOST)
    keys = (
        query.with_only_columns(resource.pk, func.count().over())
        .order_by(*_order(resource))
        .offset((number - 1) * size)
        .limit(size)
    )
    with core.database.read() as session:
        # Which rows the page has, and how many there are, is one look at numbers; the rest is read of the page's only.
        found = session.execute(keys).all()
        count = found[0][1] if found else 0
        results = [resource.show(row) for row in rows(session, query, resource, [each[0] for each in found])]
    return numbered(count, number, size, results)


def page_asked(default: int, most: int) -> tuple[int, int]:
    """Return the number and the size of the page that is asked for. Raises Problem `validation_error`."""
    return _positive("page", 1), min(_positive("page_size", default), most)


def numbered(count: int, number: int, size: int, results: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a page with the ways to those beside it. Raises Problem `not_found` for one behind the last."""
    if number > 1 and (number - 1) * size >= count:
        raise Problem("not_found", "there is no such page")
    return {
        "count": count,
        "next": _page_url(number + 1) if number * size < count else None,
        "previous": _page_url(number - 1) if number > 1 else None,
        "results": results,
    }


def _page_url(number: int) -> str:
    asked = [(name, value) for name, value in request.args.items(multi=True) if name != "page"]
    return f"{request.path}?{urlencode([*asked, ('page', str(number))])}"


def _positive(name: str, default: int) -> int:
    text = request.args.get(name, "")
    if not text:
        return default
    number = whole_number(text, 10**9)
    if not number:
        raise Problem("validation_error", errors={name: ["must be a whole number from 1"]})
    return number


def _order(resource: Resource) -> list[Any]:
    parts = []
    for name in (request.args.get("order_by") or resource.default_order).split(","):
        column = resource.columns.get(name.strip().removeprefix("-"))
        if column is None:
            raise Problem("validation_error", errors={"order_by": [f"{name.strip()[:80]} is no field of it"]})
        parts.append(column.expression.desc() if name.strip().startswith("-") else column.expression.asc())
    # Two pages never show the same row twice.
    return [*parts, resource.pk.asc()]


def _conditions(resource: Resource) -> list[ColumnElement[bool]]:
    check_value(request.args.to_dict(flat=False))
    every: list[ColumnElement[bool]] = []
    some: list[ColumnElement[bool]] = []
    for name, value in request.args.items(multi=True):
        if name in _PAGING:
            continue
        if name == "search":
            found = [
                _text(resource.columns[each]).icontains(value, autoescape=True) for each in resource.search
            ]
            every.append(or_(*found))
            continue
        key = name.removeprefix("or__").removeprefix("not__")
        condition = _condition(resource, name, key, value)
        if "not__" in name[: len(name) - len(key)]:
            condition = not_(condition)
        (some if name.startswith("or__") else every).append(condition)
    return [*every, or_(*some)] if some else every


def _condition(resource: Resource, name: str, key: str, value: str) -> ColumnElement[bool]:
    column, lookup = resource.columns.get(key), "exact"
    if column is None:
        field_name, _, lookup = key.rpartition("__")
        column = resource.columns.get(field_name)
        if column is None:
            raise Problem(
                "validation_error", f"{name[:80]} is not a filter of {resource.path}",
                errors={name[:80]: ["is not a filter of it"]},
            )  # fmt: skip
    try:
        return _LOOKUPS[lookup](column, value)
    except KeyError:
        raise Problem("validation_error", errors={name[:80]: [f"there is no lookup {lookup[:40]}"]}) from None
    except ValueError as error:
        raise Problem("validation_error", errors={name[:80]: [str(error)]}) from None


def _read(column: Column, text: str) -> Any:
    if column.type in ("integer", "id"):
        number = whole_number(text.removeprefix("-"), 2**62)
        if number is None:
            raise ValueError("must be a whole number")
        return -number if text.startswith("-") else number
    if column.type == "boolean":
        if text.lower() not in _TRUE + _FALSE:
            raise ValueError("must be true or false")
        return text.lower() in _TRUE
    if column.type == "datetime":
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError("must be a time, such as 2026-01-31T12:00:00Z") from None
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return text


def _text(column: Column) -> Any:
    return column.expression if column.type in ("string", "choice") else cast(column.expression, String)


def _list(column: Column, text: str) -> list[Any]:
    words = [word for word in text.split(",") if word]
    if len(words) > MOST:
        raise ValueError(f"has more than {MOST} values")
    return [_read(column, word.strip()) for word in words]


def _is_null(column: Column, text: str) -> Any:
    if text.lower() not in _TRUE + _FALSE:
        raise ValueError("must be true or false")
    empty = column.expression.is_(None)
    return empty if text.lower() in _TRUE else not_(empty)


_LOOKUPS: Mapping[str, Callable[[Column, str], Any]] = {
    "exact": lambda column, text: column.expression == _read(column, text),
    "iexact": lambda column, text: func.lower(_text(column)) == text.lower(),
    "contains": lambda column, text: _text(column).contains(text, autoescape=True),
    "icontains": lambda column, text: _text(column).icontains(text, autoescape=True),
    "startswith": lambda column, text: _text(column).startswith(text, autoescape=True),
    "istartswith": lambda column, text: _text(column).istartswith(text, autoescape=True),
    "endswith": lambda column, text: _text(column).endswith(text, autoescape=True),
    "iendswith": lambda column, text: _text(column).iendswith(text, autoescape=True),
    "gt": lambda column, text: column.expression > _read(column, text),
    "gte": lambda column, text: column.expression >= _read(column, text),
    "lt": lambda column, text: column.expression < _read(column, text),
    "lte": lambda column, text: column.expression <= _read(column, text),
    "in": lambda column, text: column.expression.in_(_list(column, text)),
    "isnull": _is_null,
}
