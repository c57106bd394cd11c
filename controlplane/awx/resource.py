# SPDX-License-Identifier: Apache-2.0
"""What stands behind a list of `/api/v2/`: its rows, its fields, how one is shown. Nothing here knows of requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any

from sqlalchemy import ColumnElement, Select
from sqlalchemy.orm import Session

from controlplane.domain.errors import Problem
from controlplane.domain.permission import Actor, Permission
from controlplane.services.core import Core

_MOST_ID = 2**31 - 1

Show = Callable[[Any], dict[str, Any]]


@dataclass(frozen=True)
class Column:
    """A field that can be filtered and sorted by. `type` as OPTIONS names it; `id` is a number of another resource."""

    expression: Any
    type: str = "string"
    help_text: str = ""
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Resource:
    """What is behind one of the lists of `/api/v2/`.

    `select` gives rows that `show` makes documents of, of what the actor may see. Who asks needs one of `permissions`.
    `fields` are those that are shown and cannot be filtered by: name -> (type, help). `find` returns conditions that
    find what has these numbers and nothing else, each some of it, where looking for the numbers would read
    everything.
    """

    path: str
    type: str
    about: str
    permissions: tuple[Permission, ...]
    pk: Any
    columns: Mapping[str, Column]
    select: Callable[[Actor], Select[Any]]
    show: Show
    find: Callable[[Session, Sequence[int]], Sequence[ColumnElement[bool]]] | None = None
    kinds: tuple[str, ...] = ()
    default_order: str = "id"
    search: tuple[str, ...] = ("name",)
    fields: Mapping[str, tuple[str, str]] = dataclass_field(default_factory=dict)
    post: Mapping[str, Mapping[str, Any]] = dataclass_field(default_factory=dict)
    detail_methods: tuple[str, ...] = ("GET",)


def one(core: Core, actor: Actor, resource: Resource, pk: str) -> dict[str, Any]:
    """Return the document of one. Raises Problem `not_found`, also where it is outside everything the actor sees."""
    with core.database.read() as session:
        return resource.show(row(session, actor, resource, pk))


def row(session: Session, actor: Actor, resource: Resource, pk: str) -> Any:
    """Return the row of one, for what goes on to work with it. Raises Problem `not_found`."""
    found = rows(session, resource.select(actor), resource, [as_id(pk)])
    if not found:
        raise Problem("not_found", f"there is no {resource.type} {pk}")
    return found[0]


def rows(session: Session, query: Select[Any], resource: Resource, numbers: Sequence[int]) -> list[Any]:
    """Return the rows of a query that have these numbers, in the order of the numbers."""
    if not numbers:
        return []
    ways = resource.find(session, numbers) if resource.find else [resource.pk.in_(numbers)]
    keyed = query.add_columns(resource.pk.label("number"))
    found = {row.number: row for way in ways for row in session.execute(keyed.where(way))}
    return [found[number] for number in numbers if number in found]


def as_id(text: str) -> int:
    """Return the number that a path names. Raises Problem `not_found` for what is none."""
    number = whole_number(text, _MOST_ID)
    if number is None:
        raise Problem("not_found")
    return number


def whole_number(text: str, most: int) -> int | None:
    """Return the number that a text is, None where it is none from 0 to `most`; a very long one is not even read."""
    if not text.isascii() or not text.isdigit() or len(text) > len(str(most)):
        return None
    number = int(text)
    return number if number <= most else None


def field(
    kind: str, help_text: str, *, required: bool = False, default: Any = None, **rest: Any
) -> dict[str, Any]:
    """Return how OPTIONS tells of a field that can be sent."""
    told = {"type": kind, "required": required, "read_only": False, "help_text": help_text, **rest}
    return told if default is None else {**told, "default": default}
