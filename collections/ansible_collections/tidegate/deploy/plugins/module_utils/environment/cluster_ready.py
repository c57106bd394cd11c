# SPDX-License-Identifier: Apache-2.0
"""Every node of a cluster is ready, and has the labels and taints that were asked for."""

from __future__ import annotations

import time
from typing import Any, Dict, List

from ..release.errors import ReleaseError
from . import kubectl
from .journal import Journal

STEP = "cluster_ready"
_PAUSE_SECONDS = 1


def apply(work: Dict[str, Any], _journal: Journal, promise_only: bool) -> Dict[str, Any]:
    """Answers {"changes", "detail"}. `work["ready"]` has `names`, `labels`, `taints` and `seconds`.

    Raises ReleaseError cni_install_failed or kubeadm_join_failed, naming the nodes that are not ready.
    """
    wanted = work["ready"]
    if promise_only:
        return {"changes": [] if kubectl.is_there() else ["wait until every node is ready"], "detail": {}}
    nodes = _wait(wanted["names"], wanted["seconds"])
    changes = []
    for name, labels in sorted(wanted["labels"].items()):
        lacking = [
            f"{key}={value}" for key, value in labels.items() if nodes[name]["labels"].get(key) != value
        ]
        if lacking:
            kubectl.tell("label", "node", name, "--overwrite", *lacking)
            changes.append(f"label {name}: {', '.join(lacking)}")
    for name, taints in sorted(wanted["taints"].items()):
        there = {f"{one['key']}={one.get('value', '')}:{one['effect']}" for one in nodes[name]["taints"]}
        lacking = [one for one in taints if one not in there]
        if lacking:
            kubectl.tell("taint", "node", name, "--overwrite", *lacking)
            changes.append(f"taint {name}: {', '.join(lacking)}")
    return {
        "changes": changes,
        "detail": {"nodes": {name: nodes[name]["version"] for name in wanted["names"]}},
    }


def rollback(_journal: Journal) -> Dict[str, List[str]]:
    """Labels and taints go with the cluster."""
    return {"undone": [], "left": []}


def _wait(names: List[str], seconds: int) -> Dict[str, Dict[str, Any]]:
    until = time.monotonic() + seconds
    while True:
        there = {one["name"]: one for one in kubectl.nodes()}
        waiting = {name: there.get(name, {}).get("message", "it has not joined") for name in names
                   if not there.get(name, {}).get("ready")}  # fmt: skip
        if not waiting:
            return there
        if time.monotonic() > until:
            said = "; ".join(f"{name}: {message}" for name, message in sorted(waiting.items()))
            key = "cni_install_failed" if "cni" in said.lower() else "kubeadm_join_failed"
            raise ReleaseError(
                key, f"not ready after {seconds} s: {said}", "See the kubelet's log on the node."
            )
        time.sleep(_PAUSE_SECONDS)
