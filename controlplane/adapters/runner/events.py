# SPDX-License-Identifier: Apache-2.0
"""From what ansible-runner tells to what may be kept: no arguments, no facts, no results but our own data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from controlplane.ports.runner import RunEvent

STDOUT_MOST = 64 * 1024
_FAILED = frozenset({"runner_on_failed", "runner_on_async_failed", "runner_item_on_failed"})


def reduce_event(event: Mapping[str, Any], counter: int) -> dict[str, Any]:
    """Return the fields of a `RunEvent`. Total: whatever is missing or odd in the event is None or False."""
    data = event.get("event_data")
    data = data if isinstance(data, Mapping) else {}
    res = data.get("res")
    res = res if isinstance(res, Mapping) else {}
    kind = str(event.get("event") or "unknown")
    told = res.get("tidegate")
    stdout = str(event.get("stdout") or "").replace("\0", "")
    duration = data.get("duration")
    return asdict(
        RunEvent(
            counter=counter,
            kind=kind[:40],
            at=str(event.get("created") or ""),
            host=_text(data.get("host")),
            action=_text(data.get("resolved_action") or data.get("task_action")),
            play=_text(data.get("play")),
            task_id=_text(data.get("task_uuid")),
            changed=res.get("changed") is True,
            failed=kind in _FAILED and data.get("ignore_errors") is not True,
            ignored=data.get("ignore_errors") is True,
            unreachable=kind == "runner_on_unreachable" or res.get("unreachable") is True,
            duration=float(duration) if isinstance(duration, int | float) else None,
            stdout=stdout if len(stdout) <= STDOUT_MOST else stdout[:STDOUT_MOST] + "\n[cut]",
            data=_without_nul(told) if isinstance(told, Mapping) else None,
        )
    )


def _text(value: object) -> str | None:
    return value.replace("\0", "") if isinstance(value, str) and value else None


def _without_nul(value: Any) -> Any:
    """A NUL byte has no place in PostgreSQL's text: one of them held up a whole batch for ever (awx#13368)."""
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, Mapping):
        return {str(name).replace("\0", ""): _without_nul(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_without_nul(each) for each in value]
    return value
