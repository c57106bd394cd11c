# SPDX-License-Identifier: Apache-2.0
"""Whether an object is as it was asked to be: pure questions over what the server says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import kinds, ownership

LATE = "ProgressDeadlineExceeded"


@dataclass(frozen=True)
class State:
    """`progress` is for people (`3/5 ready`); `hopeless` says why it cannot get better, where that is known."""

    ready: bool
    progress: str = ""
    hopeless: str = ""
    reason: str = ""


def assess(thing: Mapping[str, Any]) -> State:
    """What is to be said of a live object."""
    one = kinds.ref(thing)
    if thing["metadata"].get("deletionTimestamp"):
        return State(False, "is being deleted")
    known = _KNOWN.get((one.group, one.kind))
    if known:
        return known(thing)
    if kinds.is_own(one):
        return State(True)
    return _conditions(thing)


def failed_before(live: Mapping[str, Any] | None, resumed: str | None) -> bool:
    """Is it a Job that failed before this release was begun, so that it has to run again?

    `resumed` is the id of a release whose run was lost and is gone on with: what failed in that one has failed.
    """
    if live is None or (kinds.ref(live).group, live["kind"]) != ("batch", "Job"):
        return False
    return _is(live, "Failed") and (resumed is None or ownership.release_of(live) != resumed)


def condition(thing: Mapping[str, Any], kind: str) -> Mapping[str, Any] | None:
    """A condition by its type."""
    for one in _status(thing).get("conditions") or []:
        if isinstance(one, Mapping) and one.get("type") == kind:
            return one
    return None


def conditions(thing: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The conditions as they are told."""
    found = _status(thing).get("conditions") or []
    return [
        {name: one.get(name) for name in ("type", "status", "reason", "message")}
        for one in found
        if isinstance(one, Mapping)
    ]


def _status(thing: Mapping[str, Any]) -> Mapping[str, Any]:
    status = thing.get("status")
    return status if isinstance(status, Mapping) else {}


def _is(thing: Mapping[str, Any], kind: str, value: str = "True") -> bool:
    found = condition(thing, kind)
    return found is not None and found.get("status") == value


def is_seen(thing: Mapping[str, Any]) -> bool:
    """Has the controller looked at the object as it is now?"""
    generation = thing["metadata"].get("generation") or 0
    return (_status(thing).get("observedGeneration") or 0) >= generation


def late_since(thing: Mapping[str, Any]) -> str | None:
    """When its controller said that it made no progress in time; None where it does not say so."""
    found = condition(thing, "Progressing")
    return str(found.get("lastUpdateTime")) if found and found.get("reason") == LATE else None


def _count(thing: Mapping[str, Any], name: str) -> int:
    return int(_status(thing).get(name) or 0)


def _deployment(thing: Mapping[str, Any]) -> State:
    wanted = _replicas(thing)
    updated, available = _count(thing, "updatedReplicas"), _count(thing, "availableReplicas")
    # Available ones of the old kind do not count.
    fresh = min(updated, available)
    progress = f"{min(fresh, wanted)}/{wanted} ready"
    if thing["spec"].get("paused"):
        return State(True, "is paused in its manifest")
    if not is_seen(thing):
        return _unseen(wanted)
    failure = condition(thing, "ReplicaFailure")
    if failure and failure.get("status") == "True" and _is_refusal(failure):
        return State(False, progress, str(failure.get("message")), _refusal(failure))
    old = _count(thing, "replicas") - updated
    if updated >= wanted and available >= wanted and old <= 0:
        return State(True, progress)
    moving = condition(thing, "Progressing")
    if moving and moving.get("reason") == LATE:
        return State(False, progress, str(moving.get("message")), LATE)
    return State(False, f"{progress}, {old} old to end" if updated >= wanted and old > 0 else progress)


def _stateful_set(thing: Mapping[str, Any]) -> State:
    wanted = _replicas(thing)
    strategy = thing["spec"].get("updateStrategy") or {}
    partition = int((strategy.get("rollingUpdate") or {}).get("partition") or 0)
    ready, updated = _count(thing, "readyReplicas"), _count(thing, "updatedReplicas")
    status = _status(thing)
    if not is_seen(thing):
        return _unseen(wanted)
    if strategy.get("type") == "OnDelete":
        return State(ready >= wanted, f"{ready}/{wanted} ready")
    goal = max(0, wanted - partition)
    is_current = status.get("currentRevision") == status.get("updateRevision")
    # Once all are current there are none left to be called updated.
    fresh = wanted if is_current and not partition else updated
    progress = f"{min(ready, fresh, wanted) if not partition else ready}/{wanted} ready"
    return State(ready >= wanted and fresh >= goal, progress)


def _daemon_set(thing: Mapping[str, Any]) -> State:
    wanted = _count(thing, "desiredNumberScheduled")
    if not is_seen(thing):
        return _unseen(wanted)
    updated, available = _count(thing, "updatedNumberScheduled"), _count(thing, "numberAvailable")
    if (thing["spec"].get("updateStrategy") or {}).get("type") == "OnDelete":
        updated = wanted
    progress = f"{min(updated, available, wanted)}/{wanted} ready"
    return State(updated >= wanted and available >= wanted, progress)


def _unseen(wanted: int) -> State:
    """What its status tells is of before: none of the pods is known to be of the object as it is now."""
    return State(False, f"0/{wanted} ready")


def _job(thing: Mapping[str, Any]) -> State:
    wanted = thing["spec"].get("completions") or 1
    progress = f"{_count(thing, 'succeeded')}/{wanted} completed"
    failed = condition(thing, "Failed")
    if failed and failed.get("status") == "True":
        return State(
            False, progress, str(failed.get("message") or failed.get("reason")), str(failed.get("reason"))
        )
    if thing["spec"].get("suspend"):
        return State(True, "is suspended in its manifest")
    return State(_is(thing, "Complete"), progress)


def _pod(thing: Mapping[str, Any]) -> State:
    phase = _status(thing).get("phase")
    if phase == "Failed":
        return State(False, "failed", str(_status(thing).get("message") or "the pod failed"), "PodFailed")
    return State(phase == "Succeeded" or _is(thing, "Ready"), str(phase or "is not seen yet").lower())


def _definition(thing: Mapping[str, Any]) -> State:
    refused = condition(thing, "NamesAccepted")
    if refused and refused.get("status") == "False":
        return State(False, "", str(refused.get("message")), str(refused.get("reason")))
    is_ready = _is(thing, "Established")
    return State(is_ready, "is established" if is_ready else "is not established yet")


def _namespace(thing: Mapping[str, Any]) -> State:
    phase = _status(thing).get("phase")
    return State(phase == "Active", str(phase or "").lower())


def _conditions(thing: Mapping[str, Any]) -> State:
    """Any other kind: by the conditions that most controllers keep, ready when it has none of them."""
    stalled = condition(thing, "Stalled")
    if stalled and stalled.get("status") == "True":
        return State(False, "is stalled", str(stalled.get("message") or stalled.get("reason")), "Stalled")
    status = _status(thing)
    if "observedGeneration" in status and not is_seen(thing):
        return State(False, "is not seen yet")
    if _is(thing, "Reconciling"):
        return State(False, "is being reconciled")
    for kind in ("Ready", "Available", "Established", "Programmed"):
        found = condition(thing, kind)
        if found is not None:
            generation = thing["metadata"].get("generation") or 0
            is_old = (found.get("observedGeneration") or generation) < generation
            said = str(found.get("reason") or found.get("message") or "")
            return State(
                found.get("status") == "True" and not is_old,
                f"{kind} is {found.get('status')} {said}".strip(),
            )
    return State(True)


def _replicas(thing: Mapping[str, Any]) -> int:
    count = thing["spec"].get("replicas")
    return 1 if count is None else int(count)


def pods_wanted(thing: Mapping[str, Any]) -> int:
    """How many pods a workload wants to have."""
    if thing["kind"] == "DaemonSet":
        return _count(thing, "desiredNumberScheduled")
    if thing["kind"] == "Job":
        spec = thing["spec"]
        return min(int(spec.get("parallelism", 1)), int(spec.get("completions") or 1))
    return _replicas(thing) if thing["kind"] != "Pod" else 1


def _is_refusal(found: Mapping[str, Any]) -> bool:
    said = str(found.get("message")).lower()
    return found.get("reason") == "FailedCreate" and any(
        word in said for word in ("exceeded quota", "forbidden", "is invalid", "denied the request")
    )


def _refusal(found: Mapping[str, Any]) -> str:
    return "ExceededQuota" if "exceeded quota" in str(found.get("message")) else "FailedCreate"


_KNOWN = {
    ("apps", "Deployment"): _deployment,
    ("apps", "StatefulSet"): _stateful_set,
    ("apps", "DaemonSet"): _daemon_set,
    ("batch", "Job"): _job,
    ("", "Pod"): _pod,
    ("", "Namespace"): _namespace,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
}
