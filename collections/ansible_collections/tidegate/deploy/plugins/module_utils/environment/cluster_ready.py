# SPDX-License-Identifier: Apache-2.0
"""Every node of a cluster is ready, and has the labels and taints that were asked for."""

from __future__ import annotations

import time
from typing import Any, Dict, List, Tuple

from ..release.errors import ReleaseError
from . import kubectl
from .journal import Journal

STEP = "cluster_ready"
_PAUSE_SECONDS = 1


def apply(work: Dict[str, Any], journal: Journal, promise_only: bool) -> Dict[str, Any]:
    """Answers {"changes", "detail"}, and as a promise {"awaited"}: what is not a change, and has to be waited for.
    `work["ready"]` has `names`, `labels`, `taints` and `seconds`.

    Raises ReleaseError cni_install_failed or kubeadm_join_failed, naming the nodes that are not ready.
    """
    wanted = work["ready"]
    if promise_only:
        there = {one["name"]: one for one in kubectl.nodes()} if kubectl.is_there() else {}
        # Not those that are there and are not ready now: that comes and goes.
        absent = sorted(set(wanted["names"]) - set(there))
        awaited = [f"wait until {', '.join(absent)} is ready"] if absent else []
        return {
            "changes": [told for told, _words in _lacking(wanted, there, journal)],
            "detail": {},
            "awaited": awaited,
        }
    nodes = _wait(wanted["names"], wanted["seconds"])
    changes = []
    for told, words in _lacking(wanted, nodes, journal):
        kubectl.tell(*words)
        changes.append(told)
    for name in wanted["names"]:
        journal.forget("cordon", name)
    return {
        "changes": changes,
        "detail": {"nodes": {name: nodes[name]["version"] for name in wanted["names"]}},
    }


def _lacking(
    wanted: Dict[str, Any], nodes: Dict[str, Dict[str, Any]], journal: Journal
) -> List[Tuple[str, List[str]]]:
    """What the nodes have not: how it is told, and what kubectl is told of it."""
    found = []
    for name in wanted["names"]:
        # It was to leave the cluster, and stays.
        if journal.find("cordon", name) and nodes.get(name, {}).get("is_cordoned"):
            found.append((f"uncordon {name}", ["uncordon", name]))
    for name, labels in sorted(wanted["labels"].items()):
        there = nodes.get(name, {}).get("labels", {})
        lacking = [f"{key}={value}" for key, value in labels.items() if there.get(key) != value]
        if lacking:
            found.append(
                (f"label {name}: {', '.join(lacking)}", ["label", "node", name, "--overwrite", *lacking])
            )
    for name, taints in sorted(wanted["taints"].items()):
        has = {
            f"{one['key']}={one.get('value', '')}:{one['effect']}"
            for one in nodes.get(name, {}).get("taints", [])
        }
        lacking = [one for one in taints if one not in has]
        if lacking:
            found.append(
                (f"taint {name}: {', '.join(lacking)}", ["taint", "node", name, "--overwrite", *lacking])
            )
    return found


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
