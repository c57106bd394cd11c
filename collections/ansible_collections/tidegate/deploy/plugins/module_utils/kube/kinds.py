# SPDX-License-Identifier: Apache-2.0
"""What is known of kinds: the order in which they are applied, and which of them live outside namespaces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

# Applied in this order, each line as a whole before the next; what is named nowhere comes before the workloads.
_WAVES: tuple[tuple[str, ...], ...] = (
    ("Namespace",),
    ("CustomResourceDefinition",),
    ("PriorityClass", "StorageClass", "RuntimeClass", "IngressClass", "GatewayClass", "PersistentVolume", "LimitRange",
     "ResourceQuota", "NetworkPolicy", "PodDisruptionBudget", "ServiceAccount", "Role", "ClusterRole",
     "RoleBinding", "ClusterRoleBinding"),
    ("ConfigMap", "Secret", "PersistentVolumeClaim"),
    ("Service", "Endpoints", "EndpointSlice"),
    (),
    ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Pod", "Job", "CronJob",
     "HorizontalPodAutoscaler"),
    ("Ingress", "Gateway", "HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute", "APIService",
     "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "ValidatingAdmissionPolicy",
     "ValidatingAdmissionPolicyBinding"),
)  # fmt: skip
_OTHERS = 5
_WAVE = {kind: number for number, kinds in enumerate(_WAVES) for kind in kinds}
# The groups whose kinds a server brings itself. Not apiregistration.k8s.io: an APIService stands for what others serve,
# and is waited for. Whatever else ends in .k8s.io (gateways, snapshots) is somebody's definition like any other.
_OWN_GROUPS = {
    "", "apps", "batch", "autoscaling", "policy", "extensions", "admissionregistration.k8s.io", "apiextensions.k8s.io",
    "authentication.k8s.io", "authorization.k8s.io", "certificates.k8s.io", "coordination.k8s.io", "discovery.k8s.io",
    "events.k8s.io", "flowcontrol.apiserver.k8s.io", "internal.apiserver.k8s.io", "networking.k8s.io", "node.k8s.io",
    "rbac.authorization.k8s.io", "resource.k8s.io", "scheduling.k8s.io", "storage.k8s.io", "storagemigration.k8s.io",
}  # fmt: skip
CLUSTER_SCOPED = {
    "Namespace", "Node", "PersistentVolume", "CustomResourceDefinition", "PriorityClass", "StorageClass",
    "VolumeAttachment", "CSIDriver", "CSINode", "RuntimeClass", "IngressClass", "ClusterRole", "ClusterRoleBinding",
    "APIService", "CertificateSigningRequest", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration",
    "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "MutatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding", "FlowSchema", "PriorityLevelConfiguration", "ComponentStatus", "ServiceCIDR",
    "IPAddress", "VolumeAttributesClass", "DeviceClass", "ResourceSlice", "ClusterTrustBundle",
}  # fmt: skip
# Not without being asked: what is gone with one of these cannot be made again from manifests.
PROTECTED = ("Namespace", "PersistentVolumeClaim", "CustomResourceDefinition")
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job", "Pod")
STATEFUL = ("StatefulSet", "PersistentVolumeClaim", "PersistentVolume")
_POD_SPECS = {
    "Pod": ("spec",),
    "CronJob": ("spec", "jobTemplate", "spec", "template", "spec"),
    **dict.fromkeys(
        ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job"),
        ("spec", "template", "spec"),
    ),
}


class Ref(NamedTuple):
    """Which object it is; `namespace` is empty for what lives outside namespaces."""

    api_version: str
    kind: str
    namespace: str
    name: str

    @property
    def group(self) -> str:
        """The API group: empty for the core's."""
        return group(self.api_version)

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """The same for all versions that the object is served in."""
        return (self.group, self.kind, self.namespace, self.name)


def ref(thing: Mapping[str, Any]) -> Ref:
    """The reference of an object."""
    metadata = thing["metadata"]
    return Ref(thing["apiVersion"], thing["kind"], metadata.get("namespace") or "", metadata["name"])


def group(api_version: str) -> str:
    """The group of an apiVersion."""
    return api_version.partition("/")[0] if "/" in api_version else ""


def is_own(one: Ref) -> bool:
    """Is it a kind that every server has, of which it is known what its status means?"""
    return one.group in _OWN_GROUPS


def titles(refs: Iterable[Ref]) -> dict[Ref, str]:
    """How people are told of each: `Deployment/web`, with the group where two would be called the same."""
    found = list(dict.fromkeys(refs))
    short: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for one in found:
        short.setdefault((one.kind, one.name), set()).add((one.group, one.namespace))
    return {
        one: f"{one.kind}/{one.name}" if len(short[one.kind, one.name]) == 1
        else f"{one.kind}.{one.group or 'core'}/{one.name}" + (f" in {one.namespace}" if one.namespace else "")
        for one in found
    }  # fmt: skip


def wave(kind: str) -> int:
    """When a kind is applied: lower before higher."""
    return _WAVE.get(kind, _OTHERS)


def waves(objects: Iterable[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Objects in the order in which they are applied; each list can go at once."""
    found: dict[int, list[dict[str, Any]]] = {}
    for one in objects:
        found.setdefault(wave(one["kind"]), []).append(one)
    return [found[number] for number in sorted(found)]


def pod_spec_path(kind: str) -> tuple[str, ...] | None:
    """Where a kind keeps the spec of its pods; None when it has none."""
    return _POD_SPECS.get(kind)


def pod_spec(thing: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The spec of an object's pods, None when it has none."""
    path = _POD_SPECS.get(str(thing.get("kind")))
    node: Any = thing
    for part in path or ():
        node = node.get(part) if isinstance(node, Mapping) else None
    return node if path and isinstance(node, Mapping) else None


def containers(spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """All containers of a pod's spec, those that run first too."""
    for field in ("initContainers", "containers"):
        for one in spec.get(field) or []:
            if isinstance(one, Mapping):
                yield one
