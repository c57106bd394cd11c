# SPDX-License-Identifier: Apache-2.0
"""From what a module returned to what the timeline tells: by its data and its action, never by names or text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

COLLECTION = "tidegate.deploy."

# The step that an action is about to do on a host, told before its result is there.
STEP_OF_ACTION: Mapping[str, str] = {
    f"{COLLECTION}image_archive": "images_present",
    f"{COLLECTION}compose_release": "project_up",
    f"{COLLECTION}compose_verify": "health",
    f"{COLLECTION}host_entry": "switch",
    f"{COLLECTION}k8s_release": "objects_applied",
}
PROGRESS = "tidegate.progress/v1"
# The step that an object's progress belongs to: what a cluster is waited for.
WAITING = "rollout"
VERIFYING = frozenset({"health", WAITING})
TAIL = 4000
MOST_PROGRESS = 500
MOST_NAME = 64
_TOLD = re.compile(r"\[(DEBUG|INFO|WARNING|ERROR)\] [a-z][a-z0-9_]{0,63}=")


def started(kind: str, action: str | None, host: str | None) -> dict[str, Any] | None:
    """Return the detail of `step_started` for an event that begins one, else None."""
    if kind != "runner_on_start" or action is None or action not in STEP_OF_ACTION:
        return None
    return {"host": host, "step": STEP_OF_ACTION[action]}


def progress(kind: str, host: str | None, data: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the detail of `step_progress` for what a task says while it waits (`3/5 ready`), else None."""
    if kind != "runner_item_on_ok" or data is None or data.get("schema") != PROGRESS:
        return None
    told = {name: str(data.get(name) or "")[:MOST_PROGRESS] for name in ("object", "progress")}
    return {"host": host, "step": WAITING, **told}


def decidable(kind: str, data: Mapping[str, Any] | None) -> bool | None:
    """Return whether people may decide now how a run goes on; None when the event says nothing of it."""
    if kind != "runner_item_on_ok" or data is None or data.get("schema") != PROGRESS:
        return None
    found = data.get("decidable")
    return found if isinstance(found, bool) else None


def finished(
    kind: str, host: str | None, data: Mapping[str, Any] | None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield `(action, detail)` for each step that a result tells of: `step_succeeded` or `step_failed`.

    A task that does several tells of each as it ends, too, before its result is there.
    """
    is_while = kind == "runner_item_on_ok" and data is not None and data.get("schema") == PROGRESS
    if data is None or not (kind.startswith("runner_on_") or is_while):
        return
    steps = data.get("steps")
    for step in steps if isinstance(steps, list) else []:
        if not isinstance(step, Mapping) or "step" not in step:
            continue
        has_failed = step.get("status") == "failed"
        yield "step_failed" if has_failed else "step_succeeded", _detail(host, step)


def _detail(host: str | None, step: Mapping[str, Any]) -> dict[str, Any]:
    detail = {
        "host": host,
        "step": str(step["step"]),
        "status": step.get("status"),
        "started_at": step.get("started_at"),
        "duration_ms": step.get("duration_ms"),
        "exit_code": step.get("exit_code"),
        "stdout_tail": str(step.get("stdout_tail") or "")[-TAIL:],
        "stderr_tail": str(step.get("stderr_tail") or "")[-TAIL:],
    }
    if isinstance(step.get("detail"), Mapping) and step["detail"]:
        detail["detail"] = dict(step["detail"])
    return detail


def said(log: str) -> list[str]:
    """Return the rows of what a step's own program said: each line `[LEVEL] key=value` is one, and what is between."""
    found: list[str] = []
    for is_told, lines in groupby(log.splitlines(), lambda line: bool(_TOLD.match(line))):
        block = list(lines)
        found += block if is_told else ["\n".join(block)]
    return found


# The steps of a task on hosts, by the action that does one: the first of them where it does several.
STEP_OF_INSTALL: Mapping[str, str] = {
    f"{COLLECTION}bundle_verify": "bundle_verify",
    f"{COLLECTION}environment_preflight": "preflight",
    f"{COLLECTION}bundle_delivery": "bundle_delivery",
    f"{COLLECTION}container_runtime": "container_runtime",
    f"{COLLECTION}compose_environment": "compose_environment",
    f"{COLLECTION}kubernetes_node": "kubernetes_node",
    f"{COLLECTION}control_plane_init": "control_plane_init",
    f"{COLLECTION}control_plane_join": "control_plane_join",
    f"{COLLECTION}worker_join": "worker_join",
    f"{COLLECTION}cluster_network": "cluster_network",
    f"{COLLECTION}cluster_ready": "cluster_ready",
    f"{COLLECTION}cluster_certificates": "preflight",
    f"{COLLECTION}node_drain": "node_drain",
    f"{COLLECTION}node_delete": "node_delete",
    f"{COLLECTION}network_entry_prepare": "preflight",
    f"{COLLECTION}network_entry_activate": "activate",
    f"{COLLECTION}network_entry_endpoint": "endpoint",
    f"{COLLECTION}network_entry_stand_back": "stand_back",
}


def beginning(kind: str, host: str | None, data: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the detail of `step_started` where a task that does several steps says that it begins one, else None."""
    if kind != "runner_item_on_ok" or host is None or data is None or data.get("schema") != PROGRESS:
        return None
    return {"host": host, "step": str(data.get("object"))[:MOST_NAME]} if data.get("begins") is True else None


def installing(kind: str, action: str | None, host: str | None) -> dict[str, Any] | None:
    """Return the detail of `step_started` for an event that begins a step of a task on hosts, else None."""
    if kind != "runner_on_start" or host is None or action is None or action not in STEP_OF_INSTALL:
        return None
    return {"host": host, "step": STEP_OF_INSTALL[action]}
