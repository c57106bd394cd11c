# SPDX-License-Identifier: Apache-2.0
"""What is wrong with pods, and whether it can still get better. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

# What a kubelet says of a container that waits, and will not stop waiting.
_NEVER = {"InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError", "CreateContainerError",
          "RunContainerError", "ErrInvalidImageName", "ImageInspectError", "SignatureValidationFailed",
          "StartError", "ContainerCannotRun"}  # fmt: skip
# Why it ended tells more than that it is started again and again.
_TELLING = ("OOMKilled", "StartError", "ContainerCannotRun")
# It is tried again, and again without success: the second look is waited for.
_PULL = {"ImagePullBackOff"}
_PULL_KEYS = {
    "InvalidImageName",
    "ErrImageNeverPull",
    "ErrImagePull",
    "ImagePullBackOff",
    "ErrInvalidImageName",
    "ImageInspectError",
    "SignatureValidationFailed",
}
_CRASHES = 2
_STATUSES = ("initContainerStatuses", "containerStatuses")


def problems(pods: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each container (or pod) that is not well: name, container, reason, message, exit_code, restarts."""
    rows = []
    for pod in pods:
        status = pod.get("status") or {}
        name = pod["metadata"]["name"]
        for kind in _STATUSES:
            for one in status.get(kind) or []:
                row = _container(one)
                if row:
                    rows.append({"name": name, **row})
        for found in status.get("conditions") or []:
            if found.get("type") == "PodScheduled" and found.get("status") == "False":
                rows.append(_pod_row(name, str(found.get("reason") or "Unschedulable"), found.get("message")))
        if status.get("phase") == "Failed" and not any(row["name"] == name for row in rows):
            rows.append(_pod_row(name, str(status.get("reason") or "PodFailed"), status.get("message")))
    return rows


def hopeless(rows: Iterable[Mapping[str, Any]], is_job: bool = False) -> Mapping[str, Any] | None:
    """The first row that cannot get better. A Job's pods may crash as often as the Job lets them."""
    for row in rows:
        reason = row["reason"]
        if reason in _NEVER or reason in _PULL:
            return row
        if not is_job and row["restarts"] >= _CRASHES and reason in ("CrashLoopBackOff", "OOMKilled"):
            return row
    return None


def is_image(reason: str) -> bool:
    """Is the reason one that an image cannot be had?"""
    return reason in _PULL_KEYS


def restarts(pods: Iterable[Mapping[str, Any]]) -> int:
    """How often containers of these pods were started again, those that run first, or beside, too."""
    return sum(
        int(one.get("restartCount") or 0)
        for pod in pods
        for kind in _STATUSES
        for one in (pod.get("status") or {}).get(kind) or []
    )


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Does the pod say that it is ready?"""
    found = (pod.get("status") or {}).get("conditions") or []
    return any(one.get("type") == "Ready" and one.get("status") == "True" for one in found)


def of_revision(
    workload: Mapping[str, Any],
    pods: Iterable[Mapping[str, Any]],
    replica_sets: Iterable[Mapping[str, Any]] = (),
) -> list[Mapping[str, Any]]:
    """The pods that belong to the workload as it is now, not to what is being replaced."""
    uid, kind = workload["metadata"]["uid"], workload["kind"]
    if kind == "Deployment":
        revision = _revision(workload)
        owners = {
            one["metadata"]["uid"] for one in replica_sets if owner(one) == uid and _revision(one) == revision
        }
        return [pod for pod in pods if owner(pod) in owners]
    mine = [pod for pod in pods if owner(pod) == uid]
    if kind == "StatefulSet":
        wanted = (workload.get("status") or {}).get("updateRevision")
        return [pod for pod in mine if _label(pod, "controller-revision-hash") in (wanted, None)]
    if kind == "DaemonSet":
        annotations = workload["metadata"].get("annotations") or {}
        wanted = annotations.get("deprecated.daemonset.template.generation")
        return [pod for pod in mine if not wanted or _label(pod, "pod-template-generation") in (wanted, None)]
    return mine


def owner(thing: Mapping[str, Any]) -> str | None:
    """The uid of the controller that made an object."""
    for one in thing["metadata"].get("ownerReferences") or []:
        if one.get("controller"):
            return str(one["uid"])
    return None


def _container(one: Mapping[str, Any]) -> dict[str, Any] | None:
    state = one.get("state") or {}
    last = (one.get("lastState") or {}).get("terminated") or {}
    waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
    restarts_of = int(one.get("restartCount") or 0)
    if waiting and waiting.get("reason") not in ("ContainerCreating", "PodInitializing", None):
        reason, message, code = waiting["reason"], waiting.get("message"), last.get("exitCode")
    elif ended and ended.get("exitCode") != 0:
        reason, message, code = ended.get("reason") or "Error", ended.get("message"), ended.get("exitCode")
    elif "running" in state and not one.get("ready") and restarts_of:
        reason, message, code = last.get("reason") or "Restarted", last.get("message"), last.get("exitCode")
    elif "running" in state and one.get("ready") is False:
        reason, message, code = "NotReady", "the container runs and is not ready", None
    else:
        return None
    if last.get("reason") in _TELLING and reason == "CrashLoopBackOff":
        reason, message = last["reason"], last.get("message") or message
    return {
        "container": one.get("name"), "reason": reason, "message": str(message or ""), "exit_code": code,
        "restarts": restarts_of,
    }  # fmt: skip


def _pod_row(name: str, reason: str, message: Any) -> dict[str, Any]:
    return {"name": name, "container": None, "reason": reason, "message": str(message or ""), "exit_code": None,
            "restarts": 0}  # fmt: skip


def _revision(thing: Mapping[str, Any]) -> str | None:
    return (thing["metadata"].get("annotations") or {}).get("deployment.kubernetes.io/revision")


def _label(thing: Mapping[str, Any], name: str) -> str | None:
    return (thing["metadata"].get("labels") or {}).get(name)
