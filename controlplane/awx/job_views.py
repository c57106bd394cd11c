# SPDX-License-Identifier: Apache-2.0
"""`/api/v2/jobs/{id}/...`: what a job printed, cancel and relaunch.

awxkit: cli/stdout.py (monitor), cli/custom.py (HasStdout).
"""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import Any

from flask import Response, request

from controlplane.api.auth import current_actor, current_core
from controlplane.awx import jobs, kinds, launching, lines, options, query
from controlplane.awx.answer import body, json_answer
from controlplane.awx.lines import Log
from controlplane.awx.resource import whole_number
from controlplane.domain.errors import Problem

# A client that monitors asks once more after the end, for one page: it has to hold what came since it asked before.
PAGE_SIZE, MOST = 1_000, 2_000
MOST_JSON_LINES = 10_000
_LOOKUPS = ("exact", "gt", "gte", "lt", "lte")
_MEDIA = {"txt": "text/plain", "ansi": "text/plain", "html": "text/html", "json": "application/json"}


def _log(pk: str) -> tuple[Any, Log]:
    found = jobs.row(current_core(), current_actor(), pk)
    return found, lines.open_log(current_core(), found.AwxJob.id, kinds.id_of(found.AwxJob))


def events(pk: str) -> Response:
    """List what a job printed, by its number or by its lines; live while it runs."""
    _found, log = _log(pk)
    begin, end = _window(log)
    number, size = query.page_asked(PAGE_SIZE, MOST)
    count = max(end - begin, 0)
    is_falling = _is_falling()
    if is_falling:
        last = end - (number - 1) * size
        first = max(last - size, begin)
    else:
        first = begin + (number - 1) * size
        last = min(first + size, end)
    results = list(lines.events(current_core(), log, first, last)) if first < last else []
    return json_answer(query.numbered(count, number, size, results[::-1] if is_falling else results))


def describe_events(pk: str) -> Response:
    """Say what events show, and by what they can be asked for."""
    shown = {
        name: options.told(name, kind, about, is_filter=name in lines.NUMBERS)
        for name, (kind, about) in lines.FIELDS.items()
    }
    return options.action("Job events: what a job printed.", {}, ("GET",), shown)


def _is_falling() -> bool:
    order = request.args.get("order_by") or "counter"
    if order.removeprefix("-") not in lines.NUMBERS:
        raise Problem("validation_error", errors={"order_by": [f"must be one of {', '.join(lines.NUMBERS)}"]})
    return order.startswith("-")


def _window(log: Log) -> tuple[int, int]:
    """Return which events are asked for: those numbered `begin + 1` to `end`."""
    begin, end = 0, log.end.counter
    for name, text in request.args.items(multi=True):
        if name in ("page", "page_size", "order_by", "no_truncate", "format"):
            continue
        field, _, lookup = name.partition("__")
        if field not in lines.NUMBERS or (lookup or "exact") not in _LOOKUPS:
            raise Problem("validation_error", errors={name[:80]: ["is not a filter of job events"]})
        least, most = _bounds(log, field, lookup or "exact", _number(name, text))
        begin, end = max(begin, least), min(end, most)
    return begin, end


def _bounds(log: Log, field: str, lookup: str, value: int) -> tuple[int, int]:
    """Return how many events come before those that fit, and how many up to the last that does."""

    def before(number: int) -> int:
        if field == "start_line":
            return lines.before_line(current_core(), log, number)
        counter = lines.counter_of(log, number) if field == "id" else number
        return max(counter - 1, 0)

    least = {"gt": value + 1, "gte": value, "exact": value}.get(lookup)
    most = {"lt": value, "lte": value + 1, "exact": value + 1}.get(lookup)
    return before(least) if least is not None else 0, before(most) if most is not None else log.end.counter


def stdout(pk: str) -> Response:
    """Show what a job printed, whole or from line to line: as text, with colours, as JSON or HTML."""
    found, log = _log(pk)
    asked = request.args.get("format", "txt")
    kind = asked.removesuffix("_download")
    if kind not in _MEDIA:
        raise Problem("validation_error", errors={"format": [f"must be one of {', '.join(_MEDIA)}"]})
    start, end = _line("start_line", 0), min(_line("end_line", log.end.line), log.end.line)
    if kind == "json":
        return _as_json(log, start, end)
    headers = {"X-Content-Type-Options": "nosniff"}
    if asked.endswith("_download"):
        headers["Content-Disposition"] = f'attachment; filename="job_{found.AwxJob.id}.txt"'
    if kind == "html":
        # What was printed is text of somebody else's: nothing in it is run.
        headers["Content-Security-Policy"] = "default-src 'none'"
    pieces = _pieces(lines.between(current_core(), log, start, end), kind)
    return Response(pieces, content_type=f"{_MEDIA[kind]}; charset=utf-8", headers=headers)


def _pieces(text: Iterator[str], kind: str) -> Iterator[str]:
    if kind == "html":
        yield "<!doctype html><meta charset=utf-8><title>stdout</title><pre>"
    for piece in text:
        bare = piece if kind == "ansi" else lines.plain(piece)
        yield html.escape(bare) if kind == "html" else bare
    if kind == "html":
        yield "</pre>\n"


def _as_json(log: Log, start: int, end: int) -> Response:
    end = min(end, start + MOST_JSON_LINES)
    text = "".join(lines.between(current_core(), log, start, end))
    span = {"start": start, "end": max(end, start), "absolute_end": log.end.line}
    return json_answer({"range": span, "content": lines.plain(text)})


def _line(name: str, default: int) -> int:
    text = request.args.get(name, "")
    return _number(name, text) if text else default


def _number(name: str, text: str) -> int:
    number = whole_number(text, 2**53)
    if number is None:
        raise Problem("validation_error", errors={name: ["must be a whole number from 0"]})
    return number


def can_cancel(pk: str) -> Response:
    """Say whether the job can be cancelled still."""
    return json_answer({"can_cancel": jobs.can_cancel(jobs.row(current_core(), current_actor(), pk))})


def cancel(pk: str) -> Response:
    """Cancel a job."""
    body()
    jobs.cancel(current_core(), current_actor(), pk)
    return json_answer({}, 202)


def can_relaunch(pk: str) -> Response:
    """Say what a relaunch needs: nothing."""
    jobs.row(current_core(), current_actor(), pk)
    return json_answer({"passwords_needed_to_start": [], "retry_counts": {}})


def relaunch(pk: str) -> Response:
    """Launch the same again: with a preview of its own, and through the gate again."""
    sent = body()
    if sent.get("hosts") not in (None, "", "all"):
        raise Problem("validation_error", errors={"hosts": ["a job goes to all hosts that it is for"]})
    actor = current_actor()
    key = launching.request_key(
        actor, request.headers.get("X-Request-ID"), request.path, request.get_data(cache=True)
    )
    job_id = jobs.relaunch(current_core(), actor, pk, key)
    shown = jobs.shown(current_core(), job_id)
    return json_answer(shown, 201, {"Location": shown["url"]})
