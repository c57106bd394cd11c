# SPDX-License-Identifier: Apache-2.0
"""From what ansible-runner tells to what may be kept: no arguments, no facts, no results but our own data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from controlplane.ports.runner import RunEvent

# In characters. What a person reads of one event; the whole result is in the result files.
STDOUT_MOST = 64 * 1024
# Deeper than this no result of ours is; what a host sends may be.
_DEEPEST = 60
_FAILED = frozenset({"runner_on_failed", "runner_on_async_failed", "runner_item_on_failed"})
_NAMES = tuple(field.name for field in fields(RunEvent))


def reduce_event(event: Mapping[str, Any], counter: int) -> dict[str, Any]:
    """Return the fields of a `RunEvent`. Total: whatever is missing or odd in the event is None or False."""
    data = event.get("event_data")
    data = data if isinstance(data, Mapping) else {}
    res = data.get("res")
    res = res if isinstance(res, Mapping) else {}
    kind = _text(event.get("event")) or "unknown"
    told = res.get("tidegate")
    is_ignored = data.get("ignore_errors") is True
    values = (
        counter,
        kind[:40],
        _text(event.get("created")) or "",
        _text(data.get("host")),
        _text(data.get("resolved_action") or data.get("task_action")),
        _text(data.get("play")),
        _text(data.get("task_uuid")),
        res.get("changed") is True,
        kind in _FAILED and not is_ignored,
        is_ignored,
        kind == "runner_on_unreachable" or res.get("unreachable") is True,
        _seconds(data.get("duration")),
        _output(event.get("stdout")),
        _storable(told, _DEEPEST) if isinstance(told, Mapping) else None,
        _text(data.get("task")),
        _text(data.get("role")),
    )
    return dict(zip(_NAMES, values, strict=True))


def from_fields(values: Mapping[str, Any]) -> RunEvent:
    """Return the event whose fields `reduce_event` made."""
    return RunEvent(**values)


def _output(value: object) -> str:
    text = value if isinstance(value, str) else ""
    if len(text) > STDOUT_MOST:
        text = text[:STDOUT_MOST] + "\n[cut]"
    return text.replace("\0", "")


def _text(value: object) -> str | None:
    return value.replace("\0", "") if isinstance(value, str) and value else None


def _seconds(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _storable(value: Any, depth: int) -> Any:
    """Return what every database takes. One NUL byte held up a whole batch for ever (awx#13368); NaN is no JSON."""
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if depth == 0:
        return None
    if isinstance(value, Mapping):
        return {str(name).replace("\0", ""): _storable(each, depth - 1) for name, each in value.items()}
    if isinstance(value, list):
        return [_storable(each, depth - 1) for each in value]
    return value
