# SPDX-License-Identifier: Apache-2.0
"""Documents that ask for a network entry."""

from __future__ import annotations

from typing import Any


def document(hosts: int = 3, **lvs_vip: Any) -> dict[str, Any]:
    """A document for hosts a, b, c..., with some parameters changed; one that is None is left out."""
    names = "abcdefgh"[:hosts]
    wanted = {
        "vip_address": "192.0.2.100/24",
        "virtual_router_id": 51,
        "auth_pass": "s3cret",
        "backend_nodes": list(names),
        **lvs_vip,
    }
    return {
        "api": "tidegate.network_entry/v1",
        "entry_id": "nen_1",
        "nodes": [{"host": name, "address": f"192.0.2.{10 + n}"} for n, name in enumerate(names)],
        "lvs_vip": {name: value for name, value in wanted.items() if value is not None},
        "cluster_networks": {"pod": "10.244.0.0/16", "service": "10.96.0.0/12"},
    }
