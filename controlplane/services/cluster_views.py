# SPDX-License-Identifier: Apache-2.0
"""What runs in a cluster, read page by page with its own credential: namespaces, workloads, events."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from controlplane.domain.errors import Problem
from controlplane.domain.permission import Actor
from controlplane.services import cluster_connection, clusters
from controlplane.services.core import Core
from controlplane.store.pages import Page

LONGEST = 2000
MOST_IMAGES = 50
NAMESPACES = (("Namespace", "/api/v1", "namespaces"),)
EVENTS = (("Event", "/api/v1", "events"),)
WORKLOADS = (
    ("Deployment", "/apis/apps/v1", "deployments"),
    ("StatefulSet", "/apis/apps/v1", "statefulsets"),
    ("DaemonSet", "/apis/apps/v1", "daemonsets"),
    ("Job", "/apis/batch/v1", "jobs"),
)
Kinds = Sequence[tuple[str, str, str]]


def namespaces(core: Core, actor: Actor, cluster_id: str, limit: int, cursor: str | None) -> Page:
    """Return a page of namespaces: `{name, status, created_at}`.

    Raises:
        Problem: `cluster_not_found`, `permission_denied`, `validation_error` (the cursor), and what is wrong with
            the connection. All three views do.
    """
    return _view(core, actor, cluster_id, NAMESPACES, None, limit, cursor)


def workloads(
    core: Core, actor: Actor, cluster_id: str, namespace: str | None, limit: int, cursor: str | None
) -> Page:
    """Return a page of what runs in a namespace, or in all of them: `{kind, namespace, name, wanted, ready, images,
    created_at}`, one kind after another."""
    return _view(core, actor, cluster_id, WORKLOADS, namespace, limit, cursor)


def events(
    core: Core, actor: Actor, cluster_id: str, namespace: str | None, limit: int, cursor: str | None
) -> Page:
    """Return a page of the cluster's own events, in no order of time: `{namespace, type, reason, object, message,
    count, last_seen}`."""
    return _view(core, actor, cluster_id, EVENTS, namespace, limit, cursor)


def _view(
    core: Core,
    actor: Actor,
    cluster_id: str,
    kinds: Kinds,
    namespace: str | None,
    limit: int,
    cursor: str | None,
) -> Page:
    """Read on from a cursor: which kind, the cluster's own cursor in it, how many were shown before."""
    connection = cluster_connection.opened(core, clusters.readable(core, actor, cluster_id))
    number, after, seen = _read_cursor(cursor, len(kinds))
    items: list[dict[str, Any]] = []
    remaining = 0
    while number < len(kinds) and len(items) < limit:
        kind, group, plural = kinds[number]
        place = f"/namespaces/{namespace}" if namespace else ""
        page = core.cluster_probe.page(connection, f"{group}{place}/{plural}", limit - len(items), after)
        items += [_SHOW[kind](kind, one) for one in page.items]
        after, remaining = page.next, page.remaining
        if after is None:
            number += 1
    following = None
    if number < len(kinds):
        following = _write_cursor(number, after, seen + len(items))
    return {"items": items, "next": following, "total_estimate": seen + len(items) + remaining}


def _show_namespace(kind: str, one: Mapping[str, Any]) -> dict[str, Any]:
    meta, status = _part(one, "metadata"), _part(one, "status")
    return {
        "name": _text(meta.get("name")),
        "status": _text(status.get("phase")),
        "created_at": _text(meta.get("creationTimestamp")),
    }


def _show_workload(kind: str, one: Mapping[str, Any]) -> dict[str, Any]:
    meta, spec, status = (_part(one, name) for name in ("metadata", "spec", "status"))
    wanted, ready = {
        "DaemonSet": (status.get("desiredNumberScheduled"), status.get("numberReady")),
        "Job": (spec.get("completions"), status.get("succeeded")),
    }.get(kind, (spec.get("replicas"), status.get("readyReplicas")))
    containers = _part(_part(spec, "template"), "spec").get("containers")
    found = containers if isinstance(containers, list) else []
    images = [_text(one.get("image")) for one in found if isinstance(one, Mapping)]
    return {
        "kind": kind,
        "namespace": _text(meta.get("namespace")),
        "name": _text(meta.get("name")),
        "wanted": _number(wanted),
        "ready": _number(ready),
        "images": images[:MOST_IMAGES],
        "created_at": _text(meta.get("creationTimestamp")),
    }


def _show_event(kind: str, one: Mapping[str, Any]) -> dict[str, Any]:
    about, meta = _part(one, "involvedObject"), _part(one, "metadata")
    seen = one.get("lastTimestamp") or one.get("eventTime") or meta.get("creationTimestamp")
    return {
        "namespace": _text(meta.get("namespace")),
        "type": _text(one.get("type")),
        "reason": _text(one.get("reason")),
        "object": f"{_text(about.get('kind'))}/{_text(about.get('name'))}",
        "message": _text(one.get("message")),
        "count": _number(one.get("count")) or 1,
        "last_seen": _text(seen),
    }


_SHOW = {"Namespace": _show_namespace, "Event": _show_event} | {
    kind: _show_workload for kind, _, _ in WORKLOADS
}


def _part(one: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a member that is to be a mapping: what a cluster sends is not ours to trust."""
    found = one.get(name)
    return found if isinstance(found, Mapping) else {}


def _text(value: Any) -> str:
    return value[:LONGEST] if isinstance(value, str) else ""


def _number(value: Any) -> int:
    return value if isinstance(value, int) and 0 <= value < 2**31 else 0


def _write_cursor(number: int, after: str | None, seen: int) -> str:
    return base64.urlsafe_b64encode(json.dumps([number, after, seen]).encode()).decode().rstrip("=")


def _read_cursor(cursor: str | None, kinds: int) -> tuple[int, str | None, int]:
    if cursor is None:
        return 0, None, 0
    try:
        number, after, seen = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        is_right = (
            type(number) is int
            and 0 <= number < kinds
            and (after is None or (isinstance(after, str) and after != ""))
            and type(seen) is int
            and 0 <= seen < 2**53
        )
        if not is_right:
            raise ValueError
        if after is not None:
            after.encode()
    except (ValueError, TypeError, RecursionError):
        raise Problem("validation_error", errors={"cursor": ["is not a cursor of this list"]}) from None
    return number, after, seen
