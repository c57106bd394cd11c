# SPDX-License-Identifier: Apache-2.0
"""Pods of a cluster reach each other: a bridge on every node, and routes between nodes of one network segment.

See https://www.cni.dev/plugins/current/main/bridge/.
"""

from __future__ import annotations

import json
import os
from typing import Any, Dict, List, Mapping, Sequence, Set

from ..release.errors import ReleaseError
from .installed import Installed
from .journal import Journal, run

STEP = "cluster_network"
CONFIGURATION = "/etc/cni/net.d/10-tidegate.conflist"
ROUTES = "tidegate-pod-routes.service"
BRIDGE = "cni0"
_BEGUN = "ExecStart=ip route replace "


def apply(work: Dict[str, Any], journal: Journal, promise_only: bool) -> Dict[str, Any]:
    """Answers {"changes", "detail"}. `work["nodes"]` are the cluster's nodes, as the first control plane tells them.

    Raises ReleaseError cni_install_failed.
    """
    todo = Installed(journal, STEP, promise_only)
    if promise_only:
        if not (journal.find("file", CONFIGURATION) and os.path.exists(CONFIGURATION)):
            todo.changes.append(f"write {CONFIGURATION}")
        return {"changes": todo.changes, "detail": {}}
    own, others = divided(work["nodes"], work["node"]["name"])
    todo.file(CONFIGURATION, configuration(own["pod_subnet"]))
    if not os.path.exists(f"/sys/class/net/{BRIDGE}"):
        todo.note("interface", BRIDGE)
    _lead_to(others, todo, journal)
    return {"changes": todo.changes, "detail": {"pod_subnet": own["pod_subnet"], "routes": len(others)}}


def rollback(journal: Journal) -> Dict[str, List[str]]:
    """Take away what was made."""
    undone, left = journal.undo(STEP)
    return {"undone": undone, "left": left}


def _lead_to(others: Sequence[Mapping[str, Any]], todo: Installed, journal: Journal) -> None:
    """Have routes to these nodes' pods, and to no others'; those that stay are never taken away in between."""
    before = _kept_routes()
    if others:
        todo.units({ROUTES: routes(others)}, changed_with=False, is_reloaded=True)
    elif journal.find("unit", ROUTES):
        todo.changes.append(f"remove {ROUTES}")
        why = journal.take_back("unit", ROUTES)
        if why:
            raise ReleaseError("cni_install_failed", f"{ROUTES}: {why}", "Move it away; then try again.")
        run("systemctl", "daemon-reload")
    for route in before - _kept_routes():
        # Where it is gone already, so much the better.
        run("ip", "route", "delete", *route.split())


def _kept_routes() -> Set[str]:
    """The routes that the unit leads to, as `ip` is told of them."""
    try:
        with open(f"/etc/systemd/system/{ROUTES}", encoding="utf-8") as file:
            return {line[len(_BEGUN) :].strip() for line in file if line.startswith(_BEGUN)}
    except FileNotFoundError:
        return set()


def divided(
    nodes: Sequence[Mapping[str, Any]], name: str
) -> "tuple[Mapping[str, Any], List[Mapping[str, Any]]]":
    """This node and the others. Raises ReleaseError where a node has no network for its pods yet."""
    bare = [str(one["name"]) for one in nodes if not one["pod_subnet"]]
    own = next((one for one in nodes if one["name"] == name), None)
    if own is None or bare:
        why = (
            f"{', '.join(bare)} has no network for its pods"
            if bare
            else f"{name} is not one of the cluster's"
        )
        raise ReleaseError("cni_install_failed", why, "See `kubectl describe node`; then try again.")
    return own, sorted((one for one in nodes if one is not own), key=lambda one: str(one["name"]))


def configuration(pod_subnet: str) -> str:
    """The network as CNI is told of it."""
    bridge = {
        "type": "bridge",
        "bridge": BRIDGE,
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": pod_subnet}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return (
        json.dumps({"cniVersion": "1.0.0", "name": "tidegate", "plugins": [bridge, ports]}, indent=1) + "\n"
    )


def routes(others: Sequence[Mapping[str, Any]]) -> str:
    """The unit that leads to the pods of other nodes."""
    ways = [f"{one['pod_subnet']} via {one['address']}" for one in others]
    return "\n".join(
        [
            "# Made by Tidegate's role cluster_network.",
            "[Unit]",
            "Description=Routes to the pods of other nodes",
            "After=network-online.target",
            "Wants=network-online.target",
            "",
            "[Service]",
            "Type=oneshot",
            "RemainAfterExit=yes",
            *(_BEGUN + one for one in ways),
            *(f"ExecReload=ip route replace {one}" for one in ways),
            *(f"ExecStop=-ip route delete {one}" for one in ways),
            "",
            "[Install]",
            "WantedBy=multi-user.target",
            "",
        ]
    )
