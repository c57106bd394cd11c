# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the API servers' certificates are made from, with the VIP in it; and which control plane is the last."""

from __future__ import annotations

from typing import Any

import yaml
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError

FOLDER = "/etc/kubernetes/pki"


def with_vip(configuration: str, vip: str, node: str, address: str, port: int) -> tuple[str, str]:
    """kubeadm's configuration for one control plane, with the VIP among the API server's names; and the folder
    that the certificate lies in. What else the cluster's configuration says stays as it is."""
    cluster = _cluster(configuration)
    server = cluster.get("apiServer") or {}
    names = [str(one) for one in server.get("certSANs") or []]
    cluster["apiServer"] = {**server, "certSANs": names if vip in names else [*names, vip]}
    own = {
        "apiVersion": cluster["apiVersion"],
        "kind": "InitConfiguration",
        "localAPIEndpoint": {"advertiseAddress": address, "bindPort": port},
        "nodeRegistration": {"name": node},
    }
    return yaml.safe_dump_all([cluster, own], sort_keys=True), str(cluster.get("certificatesDir") or FOLDER)


def names_vip(configuration: str, vip: str) -> bool:
    """Whether the cluster's configuration has the VIP among the API server's names already."""
    server = _cluster(configuration).get("apiServer") or {}
    return vip in [str(one) for one in server.get("certSANs") or []]


def is_last(host: str, hosts: list[str]) -> bool:
    """Whether the control planes before this one are done: the cluster's configuration is written by the last."""
    return bool(hosts) and host == hosts[-1]


def _cluster(configuration: str) -> dict[str, Any]:
    try:
        found = yaml.safe_load(configuration)
    except yaml.YAMLError as error:
        raise ReleaseError("preflight_failed", f"the kubeadm configuration is no YAML: {error}") from error
    if not isinstance(found, dict) or found.get("kind") != "ClusterConfiguration":
        raise ReleaseError("preflight_failed", "the kubeadm configuration is no ClusterConfiguration")
    return found
