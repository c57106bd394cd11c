# SPDX-License-Identifier: Apache-2.0
"""What to do next, for each reason that Kubernetes gives and that is known here. Pure."""

from __future__ import annotations

from collections.abc import Iterable

HINTS = {
    "ImagePullBackOff": "See that the image and its tag exist, that nodes reach the registry, and which "
    "imagePullSecrets the pod names.",
    "InvalidImageName": "Correct the image reference.",
    "ErrImageNeverPull": "Bring the image to the nodes, or let imagePullPolicy pull it.",
    "CrashLoopBackOff": "Read the container's last log lines: it starts and ends again.",
    "OOMKilled": "The container needed more memory than its limit: raise limits.memory, or make it need less.",
    "Error": "Read the container's last log lines and its exit code.",
    "CreateContainerConfigError": "A ConfigMap, Secret or key that the container names is not there.",
    "CreateContainerError": "The container cannot be made as it is described: see its command, mounts and user.",
    "ImageInspectError": "The node cannot read the image that it has: remove it there, so that it is pulled again.",
    "SignatureValidationFailed": "The image is not signed as the node's policy asks: sign it, or name another.",
    "RunContainerError": "The container cannot be started: see its command and its mounts.",
    "StartError": "The container cannot be started: see that its command is in the image, its user and its mounts.",
    "PostStartHookError": "The container's postStart hook fails: see what it runs.",
    "Unhealthy": "A probe fails: see what it asks, and what the container answers.",
    "NotReady": "The container runs: see what its readiness probe asks and what it answers.",
    "Restarted": "Containers restart: read the last log lines and see the liveness probe.",
    "Unschedulable": "No node takes the pod: see its requests, node selector and tolerations against the nodes, and "
    "whether its volume can be bound.",
    "SchedulingGated": "The pod's schedulingGates hold it back until somebody removes them.",
    "ExceededQuota": "The namespace's quota is used up: raise it, or ask for less.",
    "FailedCreate": "The server refuses the pods: read the event, and see quotas, limit ranges, admission and the "
    "service account.",
    "ProgressDeadlineExceeded": "The Deployment made no progress within progressDeadlineSeconds: see its pods.",
    "BackoffLimitExceeded": "The Job failed as often as backoffLimit allows: read its last log lines.",
    "PodFailurePolicy": "The Job's podFailurePolicy ended it: read its last log lines and exit code.",
    "DeadlineExceeded": "The Job took longer than activeDeadlineSeconds.",
    "Evicted": "The node ran out of something: see the pod's message, and requests and limits.",
    "FailedMount": "A volume cannot be mounted: see that what it names is there.",
    "FailedAttachVolume": "A volume cannot be attached: see its claim, its storage class and where else it is in use.",
    "FailedCreatePodSandBox": "The node cannot make the pod: see its runtime and its network.",
    "FailedScheduling": "No node takes the pod: see its requests, node selector and tolerations.",
    "EarlierRevision": "The StatefulSet waits for a pod of an earlier revision: delete it (`kubectl delete pod`), or "
    "let the cluster's credential delete pods, and release again.",
    "Stalled": "The object's controller gave up: read the condition's message.",
}
_SAME = {
    "ErrImagePull": "ImagePullBackOff",
    "ErrInvalidImageName": "InvalidImageName",
    "PodFailed": "Error",
    "ContainerCannotRun": "StartError",
    "BackOff": "CrashLoopBackOff",
}
DEFAULT = "Read the events and the last log lines, correct the release, or roll back."


def hints(reasons: Iterable[str]) -> list[str]:
    """One for each known reason, in order; a general one when none is known."""
    found = [HINTS[name] for reason in reasons if (name := _SAME.get(reason, reason)) in HINTS]
    return list(dict.fromkeys(found)) or [DEFAULT]
