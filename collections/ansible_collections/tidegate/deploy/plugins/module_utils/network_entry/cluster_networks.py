# SPDX-License-Identifier: Apache-2.0
"""Which networks a cluster gives addresses out of itself, as its control plane here was told."""

from __future__ import annotations

import ipaddress
import re
from typing import Dict, List

from ..environment import static_pods

# What lies in each is which check; the pod that is told the network, and by which flag.
_FLAGS = {
    "in_pod_network": ("kube-controller-manager", "cluster-cidr"),
    "in_service_network": ("kube-apiserver", "service-cluster-ip-range"),
}


def read() -> Dict[str, List[str]]:
    """Reason of a check -> the IPv4 networks; empty on a host that is no control plane of static pods."""
    return {reason: _networks(static_pods.text(pod), flag) for reason, (pod, flag) in _FLAGS.items()}


def holding(address: str, networks: Dict[str, List[str]]) -> List[List[str]]:
    """The networks that an address lies in: [reason, network]."""
    return [
        [reason, network]
        for reason, some in networks.items()
        for network in some
        if ipaddress.IPv4Address(address) in ipaddress.IPv4Network(network)
    ]


def _networks(manifest: str, flag: str) -> List[str]:
    found = re.search(rf"--{flag}=([0-9A-Fa-f.:/,]+)", manifest)
    networks = []
    for word in found[1].split(",") if found else []:
        try:
            networks.append(str(ipaddress.IPv4Network(word, strict=False)))
        except ValueError:
            # IPv6, which no VIP is in.
            continue
    return networks
