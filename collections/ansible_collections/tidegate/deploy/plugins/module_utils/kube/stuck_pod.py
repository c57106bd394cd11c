# SPDX-License-Identifier: Apache-2.0
"""The pod that a StatefulSet waits for in vain, also on its way back (kubernetes#67250). Pure.

Its controller goes over the pods by their numbers and stops at the first that is not ready, also when that one is of
an earlier revision and will never get ready: the update that would mend it is never begun, until somebody deletes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from . import pods

REASON = "EarlierRevision"
REVISION = "controller-revision-hash"
# What Kubernetes takes for a probe that does not say it.
_PERIOD, _FAILURES = 10, 3
# Nothing is judged sooner, whatever its probes say.
_LEAST_SECONDS = 10.0


@dataclass(frozen=True)
class Stuck:
    """`is_hopeless` says that it cannot get ready; else it has not been ready for longer than its probes take."""

    pod: Mapping[str, Any]
    why: str
    is_hopeless: bool

    @property
    def name(self) -> str:
        """The pod's name."""
        return str(self.pod["metadata"]["name"])

    @property
    def uid(self) -> str:
        """Which pod of this name it is."""
        return str(self.pod["metadata"]["uid"])


def may_wait_in_vain(thing: Mapping[str, Any]) -> bool:
    """Is it a StatefulSet whose controller waits for each pod, and would make one that is deleted anew as it now is?"""
    spec = thing.get("spec") or {}
    is_ordered = spec.get("podManagementPolicy") in (None, "OrderedReady")
    is_rolling = (spec.get("updateStrategy") or {}).get("type") in (None, "RollingUpdate")
    return thing["kind"] == "StatefulSet" and is_ordered and is_rolling


def first_unready(thing: Mapping[str, Any], every: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The pod at which the controller stops, where it would be made anew if it were deleted; `every` are full pods."""
    mine = [pod for pod in every if pods.owner(pod) == thing["metadata"]["uid"]]
    unready = {number: pod for pod in mine if (number := _number(pod)) is not None and not pods.is_ready(pod)}
    if not unready or "deletionTimestamp" in unready[min(unready)]["metadata"]:
        return None
    return unready[min(unready)] if min(unready) >= _first_updated(thing) else None


def _first_updated(thing: Mapping[str, Any]) -> int:
    """The number of the first pod that updates reach. One below the partition, made anew, would be the same again."""
    spec = thing.get("spec") or {}
    rolling = (spec.get("updateStrategy") or {}).get("rollingUpdate") or {}
    start = (spec.get("ordinals") or {}).get("start") or 0
    return int(start) + int(rolling.get("partition") or 0)


def judged(pod: Mapping[str, Any], now: float) -> Stuck | None:
    """Why a pod is taken for one that never gets ready; None while it may yet. `now` is seconds since the epoch."""
    row = pods.hopeless(pods.problems([pod]))
    if row:
        return Stuck(pod, f"cannot start ({row['reason']})", True)
    seconds = now - _unready_since(pod)
    if seconds <= allowed(pod):
        return None
    found = pods.problems([pod])
    said = f", {found[0]['reason']}" if found else ""
    return Stuck(pod, f"has not been ready for {seconds:.0f} s{said}", False)


def row(pod: Mapping[str, Any]) -> dict[str, Any]:
    """What a failure tells of a pod that its StatefulSet waits for."""
    said = "is of an earlier revision, and the StatefulSet goes on with no other while it is not ready"
    return {"name": str(pod["metadata"]["name"]), "container": None, "reason": REASON, "message": said,
            "exit_code": None, "restarts": 0}  # fmt: skip


def allowed(pod: Mapping[str, Any]) -> float:
    """The seconds that a pod's own probes give it to get ready."""
    containers = (pod.get("spec") or {}).get("containers") or []
    return max(
        [_LEAST_SECONDS, *(_probe(one, "startupProbe") + _probe(one, "readinessProbe") for one in containers)]
    )


def _probe(container: Mapping[str, Any], name: str) -> float:
    probe = container.get(name)
    if not isinstance(probe, Mapping):
        return 0
    tries = (probe.get("periodSeconds") or _PERIOD) * (probe.get("failureThreshold") or _FAILURES)
    return float((probe.get("initialDelaySeconds") or 0) + tries)


def _unready_since(pod: Mapping[str, Any]) -> float:
    told = [one for one in (pod.get("status") or {}).get("conditions") or [] if one.get("type") == "Ready"]
    text = str((told[0].get("lastTransitionTime") if told else None) or pod["metadata"]["creationTimestamp"])
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc).timestamp()  # noqa: UP017


def _number(pod: Mapping[str, Any]) -> int | None:
    word = str(pod["metadata"]["name"]).rpartition("-")[2]
    return int(word) if word.isdigit() else None
