# SPDX-License-Identifier: Apache-2.0
"""What the schemas of all resources share: problem documents, pages, identifiers, paging parameters."""

from __future__ import annotations

from functools import cache
from typing import Any

import marshmallow as ma
from marshmallow import fields, validate

from controlplane.store.pages import LIMIT, MOST, PageRequest

NAME = validate.Regexp(
    r"\A[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z",
    error="must be 1 to 63 of a-z, 0-9 and -, and neither begin nor end with -",
)
LONGEST_ID = 40
_PAGING = ("limit", "cursor", "sort")


class StrictSchema(ma.Schema):
    """A request's schema: a member that it does not name is refused."""

    class Meta:
        """Refuse what is not named."""

        unknown = ma.RAISE


class AnswerSchema(ma.Schema):
    """An answer's schema: services give dicts that are JSON-ready; what it does not name is not sent."""


class ProblemSchema(ma.Schema):
    """RFC 9457. `error_key` is stable and documented, `hint` says what to do next, `errors` is per field.

    Some kinds carry members of their own, which RFC 9457 calls extensions: `states`, `moved`, `permission`, ...
    """

    class Meta:
        """A problem may say more than this."""

        unknown = ma.INCLUDE

    type = fields.String(required=True, metadata={"example": "urn:tidegate:error:validation_error"})
    title = fields.String(required=True, metadata={"example": "The request is not valid"})
    status = fields.Integer(required=True, metadata={"example": 422})
    detail = fields.String(required=True, metadata={"example": "The request is not valid"})
    instance = fields.String(required=True, metadata={"example": "/api/v1/hosts"})
    error_key = fields.String(required=True, metadata={"example": "validation_error"})
    hint = fields.String(required=True, metadata={"example": "Mend the fields named under errors."})
    errors = fields.Dict(
        required=True, keys=fields.String(), metadata={"example": {"name": ["Missing data."]}}
    )
    request_id = fields.String(metadata={"example": "req_01jd2k3m4n5p6q7r8s9tavbwcx"})


class PageArgs(StrictSchema):
    """The query of every list. A list's own filters go into a subclass: one query schema a route."""

    limit = fields.Integer(
        load_default=LIMIT,
        validate=validate.Range(1, MOST),
        metadata={"description": "How many items a page holds at most."},
    )
    cursor = fields.String(
        validate=validate.Length(1, 1000),
        metadata={"description": "`next` of the page before."},
    )
    sort = fields.String(
        validate=validate.Length(1, 40),
        metadata={"description": "A field to sort by, with `-` before it for falling order."},
    )


class SeqArgs(StrictSchema):
    """The query of lists that are read on from a position."""

    after = fields.Integer(
        load_default=0,
        validate=validate.Range(0, 2**63 - 1),
        metadata={"description": "Read on after this position."},
    )
    limit = fields.Integer(load_default=100, validate=validate.Range(1, MOST))


def id_filter(description: str) -> fields.String:
    """Return a filter by an id."""
    return fields.String(validate=validate.Length(1, LONGEST_ID), metadata={"description": description})


def word_filter(description: str) -> fields.String:
    """Return a filter by a name or a word."""
    return fields.String(validate=validate.Length(1, 255), metadata={"description": description})


def project_word() -> fields.String:
    """Return the field in which a new resource names its project."""
    return fields.String(
        required=True,
        validate=validate.Length(1, 255),
        metadata={"description": "Id or name.", "example": "shop"},
    )


def page_request(query: dict[str, Any]) -> tuple[dict[str, Any], PageRequest]:
    """Split a list's query into its filters and the page that is asked for."""
    filters = {name: value for name, value in query.items() if name not in _PAGING}
    return filters, PageRequest(query.get("limit", LIMIT), query.get("cursor"), query.get("sort"))


@cache
def page_of(item: type[ma.Schema]) -> type[ma.Schema]:
    """Return the schema of a page of such items: `{items, next, total_estimate}`."""
    name = item.__name__.removesuffix("Schema") + "Page"
    return AnswerSchema.from_dict(
        {
            "items": fields.List(fields.Nested(item), required=True),
            "next": fields.String(
                required=True, allow_none=True, metadata={"description": "Cursor, or null."}
            ),
            "total_estimate": fields.Integer(required=True),
        },
        name=name,
    )


@cache
def positions_of(item: type[ma.Schema]) -> type[ma.Schema]:
    """Return the schema of a list that is read on from a position: `{items, next}`."""
    name = item.__name__.removesuffix("Schema") + "Positions"
    return AnswerSchema.from_dict(
        {
            "items": fields.List(fields.Nested(item), required=True),
            "next": fields.Integer(
                required=True, allow_none=True, metadata={"description": "`after`, or null."}
            ),
        },
        name=name,
    )


def text(description: str = "", *, nullable: bool = False, example: Any = None) -> fields.String:
    """Return a text field of an answer."""
    return fields.String(required=True, allow_none=nullable, metadata=_meta(description, example))


def time(description: str = "", *, nullable: bool = False) -> fields.String:
    """Return a time of an answer; the services give RFC 3339 text in UTC."""
    meta = {**_meta(description, "2026-01-31T12:00:00.000000Z"), "format": "date-time"}
    return fields.String(required=True, allow_none=nullable, metadata=meta)


def document(description: str = "", *, nullable: bool = False) -> fields.Dict:
    """Return a free-form object of an answer."""
    return fields.Dict(
        keys=fields.String(), required=True, allow_none=nullable, metadata=_meta(description, None)
    )


def _meta(description: str, example: Any) -> dict[str, Any]:
    meta = {"description": description} if description else {}
    return {**meta, "example": example} if example is not None else meta
