# SPDX-License-Identifier: Apache-2.0
"""Why objects are not ready: their conditions, events, pods, and what failing containers last said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..host import step_record
from . import kinds, pods, readiness, slim, stuck_pod
from .cluster import Cluster
from .kinds import Ref
from .session import ApiError

_MOST_PODS = 3
_MOST_EVENTS = 10


def objects(cluster: Cluster, things: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each object: object, conditions, events, pods."""
    titles = kinds.titles(map(kinds.ref, things))
    found = pods_of(cluster, things)
    rows = []
    for thing in things:
        one = kinds.ref(thing)
        problems = pods.problems(found[one])[: _MOST_PODS * 2]
        names = {thing["metadata"]["uid"], *(pod["metadata"]["uid"] for pod in found[one][:_MOST_PODS])}
        if (blocking := in_the_way(cluster, thing)) is not None:
            problems = [*pods.problems([blocking]), stuck_pod.row(blocking), *problems]
            names.add(blocking["metadata"]["uid"])
        rows.append({
            "object": titles[one], "conditions": readiness.conditions(thing),
            "events": _events(cluster, one.namespace, names),
            "pods": [_pod(cluster, one.namespace, row) for row in problems],
        })  # fmt: skip
    return rows


def pods_of(cluster: Cluster, things: list[dict[str, Any]]) -> dict[Ref, list[Mapping[str, Any]]]:
    """The pods of each workload as it is now; empty for what has none."""
    found: dict[Ref, list[Mapping[str, Any]]] = {}
    for thing in things:
        one = kinds.ref(thing)
        if one.kind == "Pod":
            found[one] = [thing]
            continue
        selector = _selector(thing)
        if not selector:
            found[one] = []
            continue
        try:
            sets = (
                cluster.list("apps/v1", "ReplicaSet", one.namespace, selector, keep=slim.slim)
                if one.kind == "Deployment"
                else []
            )
            every = cluster.list("v1", "Pod", one.namespace, selector, keep=slim.slim)
        except ApiError as error:
            # Whoever may release may not always see pods: then only the workload itself tells.
            if error.status != 403:
                raise
            sets, every = [], []
        found[one] = pods.of_revision(thing, every, sets)
    return found


def in_the_way(cluster: Cluster, thing: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The pod of an earlier revision that a StatefulSet waits for; None where there is none, or none may be seen."""
    wanted = (thing.get("status") or {}).get("updateRevision")
    if not stuck_pod.may_wait_in_vain(thing) or not wanted or not readiness.is_seen(thing):
        return None
    found = first_unready(cluster, thing)
    revision = ((found or {}).get("metadata", {}).get("labels") or {}).get(stuck_pod.REVISION)
    return found if revision not in (None, wanted) else None


def first_unready(cluster: Cluster, thing: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The pod at which a StatefulSet's controller stops, whatever its revision; None where that may not be seen."""
    try:
        return stuck_pod.first_unready(
            thing, cluster.list("v1", "Pod", kinds.ref(thing).namespace, _selector(thing))
        )
    except ApiError as error:
        if error.status != 403:
            raise
        return None


def refusal(cluster: Cluster, thing: Mapping[str, Any]) -> tuple[str, str] | None:
    """(reason, message) when the server refuses a workload's pods, as the newest events of their making tell."""
    for event in reversed(
        _raw_events(cluster, thing["metadata"].get("namespace", ""), {thing["metadata"]["uid"]})
    ):
        said = str(event.get("message"))
        if event.get("reason") == "SuccessfulCreate":
            return None
        if event.get("reason") == "FailedCreate" and ("exceeded quota" in said or "forbidden" in said):
            return ("ExceededQuota" if "exceeded quota" in said else "FailedCreate"), said
    return None


def reasons(rows: list[dict[str, Any]]) -> list[str]:
    """The reasons that Kubernetes gives in these rows."""
    found = [str(pod["reason"]) for row in rows for pod in row["pods"]]
    found += [str(one["reason"]) for row in rows for one in row["conditions"] if one["status"] != "True"]
    return found + [str(one["reason"]) for row in rows for one in row["events"] if one["type"] == "Warning"]


def _pod(cluster: Cluster, namespace: str, row: Mapping[str, Any]) -> dict[str, Any]:
    said = ""
    if row["container"] and not pods.is_image(row["reason"]):
        is_waiting = row["restarts"] > 0
        said = cluster.logs(namespace, row["name"], row["container"], previous=is_waiting)
    return {**row, "log_tail": step_record.tail(said)}


def _events(cluster: Cluster, namespace: str, uids: set[str]) -> list[dict[str, Any]]:
    found = _raw_events(cluster, namespace, uids)[-_MOST_EVENTS:]
    rows = []
    for one in found:
        about = one.get("involvedObject") or {}
        told = {name: one.get(name) for name in ("type", "reason", "message")}
        rows.append(
            {**told, "count": one.get("count") or 1, "object": f"{about.get('kind')}/{about.get('name')}"}
        )
    return rows


def _raw_events(cluster: Cluster, namespace: str, uids: set[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    try:
        for uid in sorted(uids):
            found += cluster.list("v1", "Event", namespace, fields=f"involvedObject.uid={uid}")
    except ApiError as error:
        if error.status != 403:
            raise
    return sorted(found, key=lambda one: str(one.get("lastTimestamp") or one.get("eventTime") or ""))


def _selector(thing: Mapping[str, Any]) -> str:
    """A workload's selector as a list is asked with it; empty for what has none."""
    selector = (thing.get("spec") or {}).get("selector") or {}
    if not isinstance(selector, Mapping):
        return ""
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for one in selector.get("matchExpressions") or []:
        key, values = one["key"], ",".join(one.get("values") or [])
        parts.append({
            "In": f"{key} in ({values})", "NotIn": f"{key} notin ({values})", "DoesNotExist": f"!{key}",
        }.get(one["operator"], str(key)))  # fmt: skip
    return ",".join(parts)
