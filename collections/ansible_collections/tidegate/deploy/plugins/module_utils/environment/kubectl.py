# SPDX-License-Identifier: Apache-2.0
"""kubectl on a control plane, with the administrator's own credential."""

from __future__ import annotations

import json
import os
from typing import Any, Dict, List

from ..release.errors import ReleaseError
from .journal import ADMIN, run


def is_there() -> bool:
    """Whether this host is a control plane."""
    return os.path.isfile(ADMIN)


def ask(*words: str, timeout: int = 30) -> Any:
    """What kubectl prints as JSON. Raises ReleaseError cluster_unreachable, or for what was refused."""
    return json.loads(tell(*words, "--output", "json", timeout=timeout) or "null")


def tell(*words: str, timeout: int = 30) -> str:
    """What kubectl prints. Raises ReleaseError cluster_unreachable."""
    limit = f"--request-timeout={timeout}s"
    done = run("kubectl", "--kubeconfig", ADMIN, limit, *words, timeout=timeout + 10)
    if done.returncode != 0:
        raise ReleaseError(
            "cluster_unreachable",
            f"kubectl {words[0]}: {done.stderr.strip()[-500:]}",
            "See that the control plane's pods run: `crictl ps`, or `ctr --namespace k8s.io tasks list`.",
        )
    return done.stdout


def nodes() -> List[Dict[str, Any]]:
    """The cluster's nodes: `name`, `address`, `pod_subnet`, `ready`, `message`, `labels`, `taints`."""
    return [_node(one) for one in ask("get", "nodes")["items"]]


def _node(one: Dict[str, Any]) -> Dict[str, Any]:
    status, spec = one.get("status") or {}, one.get("spec") or {}
    ready = next((it for it in status.get("conditions") or [] if it["type"] == "Ready"), {})
    address = next((it["address"] for it in status.get("addresses") or [] if it["type"] == "InternalIP"), "")
    return {
        "name": one["metadata"]["name"],
        "address": address,
        "pod_subnet": spec.get("podCIDR") or "",
        "ready": ready.get("status") == "True",
        "message": ready.get("message") or "it has not reported yet",
        "labels": one["metadata"].get("labels") or {},
        "taints": spec.get("taints") or [],
        "is_cordoned": bool(spec.get("unschedulable")),
        "version": (status.get("nodeInfo") or {}).get("kubeletVersion", ""),
    }
