# SPDX-License-Identifier: Apache-2.0
"""Who owns which field of an object, and what a server says when two want the same. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from . import ownership

HINT = (
    "Leave the field to its owner, or preview again with force_conflicts: true to take it over: in strategy_params, or "
    "of a rollback beside to_release_id (`tidegate release rollback --force-conflicts`)."
)
_CONFLICT = re.compile(r'conflict with "(?P<manager>[^"]*)"')
_MOST_FIELDS = 8


def conflicts(status: Mapping[str, Any]) -> list[dict[str, str]]:
    """{field, manager} of each conflict in a server's answer to an apply."""
    found = []
    for cause in (status.get("details") or {}).get("causes") or []:
        if cause.get("reason") != "FieldManagerConflict":
            continue
        match = _CONFLICT.search(str(cause.get("message")))
        field = str(cause.get("field") or "").lstrip(".")
        found.append({"field": field, "manager": match["manager"] if match else "another manager"})
    return found


def word(title: str, conflict: Mapping[str, str]) -> str:
    """A conflict as a preview names it, to be known again when it is met."""
    return f"{title} {conflict['field']} ({conflict['manager']})"


def mark(live: Mapping[str, Any]) -> str:
    """What is kept of who owns what, so that it can be told later who moved: `manager=digest`, sorted."""
    return " ".join(sorted(f"{_name(one)}={_digest(one)}" for one in _entries(live)))


def moved(live: Mapping[str, Any], before: str) -> list[str]:
    """`spec.replicas (kubectl)` for each field of a manager that is not as it was at the `mark` before.

    Whoever takes a field over takes it from somebody: of our own entry is told only when nobody else moved.
    """
    known = set(before.split(" ")) if before else set()
    changed = [one for one in _entries(live) if f"{_name(one)}={_digest(one)}" not in known]
    rows = []
    for entry in [one for one in changed if one.get("manager") != ownership.MANAGER] or changed:
        manager = str(entry.get("manager"))
        fields = list(fields_of(entry))
        rows += [f"{field} ({manager})" for field in fields[:_MOST_FIELDS]]
        if len(fields) > _MOST_FIELDS:
            rows.append(f"{len(fields) - _MOST_FIELDS} more fields ({manager})")
    return rows


def fields_of(entry: Mapping[str, Any]) -> Iterator[str]:
    """The fields that an entry of managedFields owns: the leaves, as people write them."""
    yield from _leaves(entry.get("fieldsV1") or {}, "")


def _leaves(node: Mapping[str, Any], path: str) -> Iterator[str]:
    inner = {key: value for key, value in node.items() if key != "."}
    if not inner:
        if path:
            yield path
        return
    for key in sorted(inner):
        kind, _, rest = key.partition(":")
        if kind == "f":
            step = f"{path}.{rest}" if path else rest
        elif kind == "k":
            step = f"{path}[{_key(rest)}]"
        else:
            step = f"{path}[{rest}]"
        yield from _leaves(inner[key] if isinstance(inner[key], Mapping) else {}, step)


def _key(text: str) -> str:
    try:
        fields = json.loads(text)
    except ValueError:
        return text
    if isinstance(fields, dict):
        return (
            str(fields["name"])
            if set(fields) == {"name"}
            else ",".join(f"{k}={v}" for k, v in fields.items())
        )
    return text


def _entries(live: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The entries of managers who ask for something: not those who only tell a status."""
    entries = live["metadata"].get("managedFields") or []
    return [one for one in entries if one.get("subresource") != "status"]


def _name(entry: Mapping[str, Any]) -> str:
    words = (entry.get("manager"), entry.get("operation"), entry.get("subresource"))
    return "/".join(str(word).replace(" ", "_") for word in words if word)


def _digest(entry: Mapping[str, Any]) -> str:
    # The release's label moves with each release and is nobody's wish.
    text = json.dumps([entry.get("time"), entry.get("fieldsV1")], sort_keys=True)
    return hashlib.sha256(text.replace(ownership.RELEASE, "").encode()).hexdigest()[:12]
