# SPDX-License-Identifier: Apache-2.0
"""Reading requests strictly: what no table could keep, or nobody asked for, is refused before a service sees it."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import flask
import marshmallow as ma
from webargs import core
from webargs.flaskparser import FlaskParser, is_json_request

from controlplane.domain.errors import Problem

MAX_DEPTH = 60
_BIGGEST = 2**63 - 1


class StrictParser(FlaskParser):
    """Refuses unknown members, other content types, and text or numbers that PostgreSQL or JSON cannot carry."""

    DEFAULT_UNKNOWN_BY_LOCATION: ClassVar[dict[str, str | None]] = {  # type: ignore[misc]
        **FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION,
        "json": ma.RAISE,
        "query": ma.RAISE,
        "querystring": ma.RAISE,
    }

    def _raw_load_json(self, req: flask.Request) -> Any:
        body = req.get_data(cache=True)
        if not body and not req.content_type:
            return core.missing
        if not is_json_request(req):
            raise Problem("unsupported_media_type", "the body must be application/json")
        return read_json(body)

    def load_querystring(self, req: flask.Request, schema: ma.Schema) -> Any:
        """Return the query, each parameter given at most once unless its field is a list."""
        check_value(req.args.to_dict(flat=False))
        repeated = [
            name
            for name, values in req.args.lists()
            if len(values) > 1 and not isinstance(schema.fields.get(name), ma.fields.List)
        ]
        if repeated:
            raise Problem(
                "validation_error", errors={name: ["was given more than once"] for name in repeated}
            )
        return super().load_querystring(req, schema)


def read_json(body: bytes) -> Any:
    """Return what a JSON text says.

    Raises:
        Problem: `validation_error`, for no JSON, NaN, numbers beyond 64 bits, NUL, lone surrogates, deep nesting.
    """
    try:
        value = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise Problem(
            "validation_error", "the body is not valid JSON", errors={"json": ["is not valid"]}
        ) from None
    check_value(value)
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


def check_value(value: Any, where: str = "", depth: int = 0) -> None:
    """Let pass what every part behind this one can carry.

    Raises:
        Problem: `validation_error`, naming the place.
    """
    if depth > MAX_DEPTH:
        raise Problem("validation_error", errors={where: ["is nested too deeply"]})
    if isinstance(value, str):
        _check_text(value, where)
    elif isinstance(value, (int, float)):
        if abs(value) > _BIGGEST:
            raise Problem("validation_error", errors={where: ["is out of range"]})
    elif isinstance(value, dict):
        for name, member in value.items():
            _check_text(name, where)
            check_value(member, f"{where}.{name}" if where else name, depth + 1)
    elif isinstance(value, list):
        for index, member in enumerate(value):
            check_value(member, f"{where}[{index}]", depth + 1)


def _check_text(text: str, where: str) -> None:
    if "\x00" in text:
        raise Problem("validation_error", errors={where.replace("\x00", "?") or "text": ["must hold no NUL"]})
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise Problem("validation_error", errors={"text": ["must be valid Unicode"]}) from None
