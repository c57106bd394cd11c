# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the hosts of a cluster are told of the steps that make it: files, units, kubeadm's documents."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from ansible_collections.tidegate.deploy.plugins.module_utils.environment import external_etcd, step_plan
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError
from ansible_collections.tidegate.deploy.plugins.plugin_utils import (
    bundle_template,
    cluster_images,
    cluster_inputs,
    cluster_nodes,
)

_TEMPLATES = "templates/kubernetes"
_CONTAINERD_UNIT = "templates/compose/containerd.service.j2"
_BIN = "/usr/local/bin"
_MODULES = ["overlay", "br_netfilter"]
_SYSCTLS = {
    "net.ipv4.ip_forward": "1",
    "net.bridge.bridge-nf-call-iptables": "1",
    "net.bridge.bridge-nf-call-ip6tables": "1",
}
_ETCD_FILES = {
    external_etcd.CA: "etcd_ca",
    external_etcd.CERTIFICATE: "etcd_certificate",
    external_etcd.KEY: "etcd_key",
}
_LASTING = ("pod_subnet", "service_subnet", "cluster_domain", "control_plane_port", "etcd_endpoints")


class ClusterWork:
    """The work of one host. Raises ReleaseError for inputs, nodes or a bundle that no cluster can be made with."""

    def __init__(
        self,
        bundle: dict[str, Any],
        spec: dict[str, Any],
        inputs: dict[str, Any],
        nodes: list[dict[str, Any]],
        host: str,
    ) -> None:
        self._bundle, self._spec = bundle, spec
        self.inputs = cluster_inputs.checked(inputs)
        self.nodes = cluster_nodes.of(nodes)
        self.first = cluster_nodes.first(self.nodes)
        found = [one for one in self.nodes if one.host == host]
        if not found:
            raise ReleaseError("validation_error", f"nodes: {host} is not among them")
        self.node = found[0]
        self.has_workers = any(one.role == "worker" for one in self.nodes)
        self.endpoint_name = self.inputs["control_plane_name"] or _endpoint_name(spec)
        entry = spec.get("network_entry") or {}
        # A VIP is named by the certificates before there is one; nodes are led to it once it answers.
        self._vip = cluster_nodes.address(str(entry["address"])) if entry.get("address") else ""
        self._endpoint_address = self._vip if entry.get("in_force") else self.first.address
        self._require_known(("node_labels", "node_taints"))

    def document(self, artifacts: dict[str, Any]) -> dict[str, Any]:
        """What every step of a host's install is told."""
        images = cluster_images.of(self._bundle)
        runtime = {**self.inputs, "container_runtime_bin": _BIN, "pause_image": images.pause}
        return {
            "runtime": "k8s",
            # The credential for etcd is a control plane's alone, and among its files.
            "inputs": {name: value for name, value in self.inputs.items() if name not in cluster_inputs.ETCD},
            "artifacts": artifacts,
            "files": {"/etc/containerd/config.toml": self._render("containerd.toml.j2", runtime)},
            "units": {"containerd.service": bundle_template.render(self._bundle, _CONTAINERD_UNIT, runtime)},
            "node": self._node(images),
            "init": {
                "config": self.init_config(images),
                "seconds": self._seconds("control_plane_init"),
                "lasting": self._lasting(),
                "etcd": self._etcd(),
            },
            "join": {"config": "", "seconds": 0},
            "ready": {
                "names": sorted(one.name for one in self.nodes),
                "labels": self._by_node("node_labels"),
                "taints": self._by_node("node_taints"),
                "seconds": self._seconds("cluster_ready"),
            },
        }

    def init_config(
        self, images: cluster_images.ClusterImages | None = None, certificate_key: str = ""
    ) -> str:
        """kubeadm's document for the first control plane."""
        images = images or cluster_images.of(self._bundle)
        planes = [one for one in self.nodes if one.role == "control_plane"]
        names = [self.endpoint_name, *(name for one in planes for name in (one.name, one.address))]
        if self._vip:
            names.append(self._vip)
        values = {
            **self._values(),
            "cluster_name": self.endpoint_name.partition(".")[0],
            "kubernetes_version": images.version,
            "image_repository": images.repository,
            "etcd_tag": images.etcd_tag,
            "certificate_names": list(dict.fromkeys([*names, *self.inputs["certificate_names"]])),
            "certificate_key": certificate_key,
            "etcd_files": {name: path for path, name in _ETCD_FILES.items()},
            "kubelet_configuration": {
                "apiVersion": "kubelet.config.k8s.io/v1beta1",
                "kind": "KubeletConfiguration",
                **self.inputs["kubelet_config"],
            },
            "proxy_configuration": {
                "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
                "kind": "KubeProxyConfiguration",
                **self.inputs["proxy_config"],
            },
        }
        return self._render("kubeadm.yaml.j2", values)

    def join_config(self, admission: dict[str, Any]) -> str:
        """kubeadm's document for another node; empty where nobody let it in."""
        if not admission.get("token"):
            return ""
        values = {
            **self._values(),
            "is_control_plane": self.node.role == "control_plane",
            "token": admission["token"],
            "ca_hashes": admission["ca_hashes"],
            "certificate_key": admission.get("certificate_key", ""),
        }
        return self._render("kubeadm-join.yaml.j2", values)

    def _lasting(self) -> dict[str, Any]:
        """What a cluster keeps as it was begun with it."""
        named = {name: self.inputs[name] for name in _LASTING}
        named["control_plane_name"] = self.endpoint_name
        if self.inputs["etcd_ca"]:
            named["etcd_ca"] = "sha256:" + hashlib.sha256(self.inputs["etcd_ca"].encode()).hexdigest()
        return named

    def _etcd(self) -> dict[str, Any]:
        """The etcd that the cluster begins in, where that is elsewhere."""
        endpoints = self.inputs["etcd_endpoints"]
        return {"endpoints": endpoints, "files": self._etcd_files()} if endpoints else {}

    def _etcd_files(self) -> dict[str, str]:
        """What lets an API server into an etcd elsewhere: path -> content."""
        if not self.inputs["etcd_endpoints"] or self.node.role != "control_plane":
            return {}
        return {path: self.inputs[name] for path, name in _ETCD_FILES.items()}

    def server(self) -> str:
        """Where the cluster is reached from elsewhere."""
        address = self._endpoint_address
        address = f"[{address}]" if ":" in address else address
        return f"https://{address}:{self.inputs['control_plane_port']}"

    def _values(self) -> dict[str, Any]:
        return {
            **self.inputs,
            "node_name": self.node.name,
            "node_address": self.node.address,
            "has_workers": self.has_workers,
            "control_plane_endpoint": f"{self.endpoint_name}:{self.inputs['control_plane_port']}",
        }

    def _node(self, images: cluster_images.ClusterImages) -> dict[str, Any]:
        values = {"kernel_modules": _MODULES, "sysctls": _SYSCTLS, "container_runtime_bin": _BIN}
        return {
            "name": self.node.name,
            "etcd_files": self._etcd_files(),
            "files": {
                "/etc/modules-load.d/tidegate-kubernetes.conf": self._render("modules.conf.j2", values),
                "/etc/sysctl.d/90-tidegate-kubernetes.conf": self._render("sysctl.conf.j2", values),
            },
            "modules": _MODULES,
            "sysctls": _SYSCTLS,
            "kubelet_unit": self._render("kubelet.service.j2", values),
            "endpoint_address": self._endpoint_address,
            "endpoint_name": self.endpoint_name,
            "images": images.by_artifact,
        }

    def _by_node(self, name: str) -> dict[str, Any]:
        return {one.name: self.inputs[name][one.host] for one in self.nodes if one.host in self.inputs[name]}

    def _require_known(self, names: tuple[str, ...]) -> None:
        for name in names:
            unknown = sorted(set(self.inputs[name]) - {one.host for one in self.nodes})
            if unknown:
                raise ReleaseError("validation_error", f"{name}: no node is called {', '.join(unknown)}")

    def _seconds(self, step: str) -> int:
        return step_plan.limits(self._bundle["index"], step).timeout

    def _render(self, name: str, values: dict[str, Any]) -> str:
        return bundle_template.render(self._bundle, f"{_TEMPLATES}/{name}", values)


def _endpoint_name(spec: dict[str, Any]) -> str:
    """The name that nodes call the control plane by; it stays when another address answers to it one day."""
    word = re.sub(r"[^a-z0-9]+", "-", str(spec.get("name") or "cluster").lower()).strip("-")[:40].strip("-")
    return f"{word or 'cluster'}.control-plane.internal"
