# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The inputs of a cluster: what they are where nobody says anything, and what they may be."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Any

from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError

_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*\Z")
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._/-]{0,250}[A-Za-z0-9])?\Z")
_ENDPOINT = re.compile(r"https://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):(\d{1,5})\Z")
_TAINT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*=[A-Za-z0-9._-]*:(NoSchedule|PreferNoSchedule|NoExecute)\Z")
# What names an etcd that is not the cluster's own.
ETCD = ("etcd_endpoints", "etcd_ca", "etcd_certificate", "etcd_key")
DEFAULTS: dict[str, Any] = {
    "pod_subnet": "10.244.0.0/16",
    "service_subnet": "10.96.0.0/12",
    "cluster_domain": "cluster.local",
    "control_plane_port": 6443,
    "control_plane_name": "",
    "certificate_names": [],
    "cluster_dns": True,
    "cluster_proxy": True,
    "kubelet_config": {},
    "proxy_config": {},
    "kubeadm_ignore_preflight": [],
    "node_labels": {},
    "node_taints": {},
    "drain_seconds": 300,
    "etcd_endpoints": [],
    "etcd_ca": "",
    "etcd_certificate": "",
    "etcd_key": "",
    "containerd_systemd_cgroup": True,
    "containerd_restrict_oom_score_adj": False,
    "containerd_disable_apparmor": False,
}


def checked(given: dict[str, Any]) -> dict[str, Any]:
    """The inputs with what is missing filled in. Raises ReleaseError validation_error, naming the input."""
    found = {**DEFAULTS, **{name: value for name, value in given.items() if value is not None}}
    for name, (is_right, expected) in _RULES.items():
        if not is_right(found[name]):
            raise ReleaseError("validation_error", f"{name}: expected {expected}")
    _require_whole_etcd(found)
    pods, services = (ipaddress.ip_network(found[name]) for name in ("pod_subnet", "service_subnet"))
    if pods.version == services.version and pods.overlaps(services):
        raise ReleaseError("validation_error", f"pod_subnet: {pods} overlaps the services' {services}")
    return found


def _require_whole_etcd(found: dict[str, Any]) -> None:
    """An etcd elsewhere is named with all that lets an API server in, or not at all."""
    given = [name for name in ETCD if found[name]]
    lacking = [name for name in ETCD if not found[name]]
    if given and lacking:
        raise ReleaseError(
            "validation_error",
            f"{', '.join(lacking)}: expected where {', '.join(given)} is given",
            "An etcd elsewhere is named by its endpoints, the authority of its certificate, and a client's certificate "
            "and key.",
        )


def _is_network(value: Any) -> bool:
    try:
        return isinstance(value, str) and "/" in value and bool(ipaddress.ip_network(value))
    except ValueError:
        return False


def _is_domain(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= 253 and bool(_DOMAIN.match(value))


def _is_name_or_address(value: Any) -> bool:
    try:
        return bool(ipaddress.ip_address(value))
    except ValueError:
        return _is_domain(value)


def _is_port(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535


def _is_time(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 3600


def _is_endpoint(value: Any) -> bool:
    found = _ENDPOINT.match(value) if isinstance(value, str) else None
    return found is not None and _is_name_or_address(found[1].strip("[]")) and 1 <= int(found[2]) <= 65535


def _is_pem(word: str) -> Callable[[Any], bool]:
    begins, ends = re.compile(rf"-----BEGIN {word}-----"), re.compile(rf"-----END {word}-----\s*\Z")
    return lambda value: (
        isinstance(value, str) and (value == "" or bool(begins.match(value) and ends.search(value)))
    )


def _are(is_right: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: (
        isinstance(value, list) and all(isinstance(one, str) and is_right(one) for one in value)
    )


def _are_labels(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(labels, dict)
        and all(
            _LABEL.match(str(key)) and (word == "" or _LABEL.match(str(word))) for key, word in labels.items()
        )
        for labels in value.values()
    )


def _are_taints(value: Any) -> bool:
    return isinstance(value, dict) and all(
        _are(lambda one: bool(_TAINT.match(one)))(one) for one in value.values()
    )


_BOOLEAN = (lambda value: isinstance(value, bool), "true or false")
_MAPPING = (lambda value: isinstance(value, dict), "a mapping")
_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "pod_subnet": (_is_network, "a network, as 10.244.0.0/16"),
    "service_subnet": (_is_network, "a network, as 10.96.0.0/12"),
    "cluster_domain": (_is_domain, "a domain"),
    "control_plane_port": (_is_port, "a port"),
    "control_plane_name": (lambda value: value == "" or _is_domain(value), "a name, or nothing"),
    "certificate_names": (_are(_is_name_or_address), "a list of names and addresses"),
    "cluster_dns": _BOOLEAN,
    "cluster_proxy": _BOOLEAN,
    "kubelet_config": _MAPPING,
    "proxy_config": _MAPPING,
    "kubeadm_ignore_preflight": (
        _are(lambda one: bool(re.match(r"[A-Za-z0-9-]+\Z", one))),
        "a list of checks' names",
    ),
    "node_labels": (_are_labels, "node -> label -> value"),
    "node_taints": (_are_taints, "node -> list of key=value:Effect"),
    "etcd_endpoints": (_are(_is_endpoint), "a list as https://192.0.2.20:2379, or nothing"),
    "etcd_ca": (_is_pem("CERTIFICATE"), "a certificate, PEM"),
    "etcd_certificate": (_is_pem("CERTIFICATE"), "a certificate, PEM"),
    "etcd_key": (_is_pem("(?:EC |RSA )?PRIVATE KEY"), "a private key, PEM, without a passphrase"),
    "drain_seconds": (_is_time, "seconds, from 1 to 3600"),
    "containerd_systemd_cgroup": _BOOLEAN,
    "containerd_restrict_oom_score_adj": _BOOLEAN,
    "containerd_disable_apparmor": _BOOLEAN,
}
