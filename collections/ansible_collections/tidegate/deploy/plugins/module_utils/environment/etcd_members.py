# SPDX-License-Identifier: Apache-2.0
"""The members of a cluster's own etcd, asked on a control plane: one leaves where a majority of the others is well.

kubeadm calls each member by its node's name. See https://etcd.io/docs/latest/op-guide/runtime-configuration/.
"""

from __future__ import annotations

import os
import ssl
from typing import Any, Dict, List, Sequence

from ..release.errors import ReleaseError
from . import certificate_set, etcd_gateway, static_pods

_OWN = "https://127.0.0.1:2379"


def is_there() -> bool:
    """Whether the cluster has an etcd of its own."""
    return bool(static_pods.text("etcd"))


def named(names: Sequence[str]) -> List[str]:
    """Those of these nodes that are members. Raises ReleaseError preflight_failed."""
    return sorted({one["name"] for one in _members(_context())} & set(names)) if is_there() else []


def require_majority(names: Sequence[str]) -> None:
    """Let pass members whose leaving keeps etcd able to write: a majority is well now, and of those that stay.

    Raises ReleaseError insufficient_nodes, naming those that are not well.
    """
    if not named(names):
        return
    context = _context()
    # A learner has no part in a majority.
    members = [one for one in _members(context) if not one.get("isLearner")]
    stay = [one for one in members if one["name"] not in names]
    ill = [one["name"] for one in members if not _is_well(one, context)]
    well_now, well_then = len(members) - len(ill), sum(1 for one in stay if one["name"] not in ill)
    if well_now > len(members) // 2 and well_then > len(stay) // 2:
        return
    said = f"of etcd's {len(members)} members {', '.join(ill) or 'none'} does not answer"
    raise ReleaseError(
        "insufficient_nodes",
        f"{said}; without {', '.join(names)} {well_then} of {len(stay)} would be well, which is no majority",
        "Bring back those that do not answer first: without a majority the whole cluster stops.",
    )


def remove(names: Sequence[str]) -> List[str]:
    """Have etcd forget members of these names, one after another; answers which. Raises ReleaseError."""
    removed = []
    for name in named(names):
        require_majority([name])
        context = _context()
        for one in _members(context):
            if one["name"] == name:
                etcd_gateway.ask(_OWN, "/v3/cluster/member/remove", {"ID": one["ID"]}, context)
                removed.append(name)
    return removed


def _members(context: ssl.SSLContext) -> List[Dict[str, Any]]:
    found = etcd_gateway.ask(_OWN, "/v3/cluster/member/list", {}, context).get("members") or []
    # One that was added and did not start yet has no name.
    return [{"name": "", **one} for one in found]


def _is_well(member: Dict[str, Any], context: ssl.SSLContext) -> bool:
    for url in member.get("clientURLs") or []:
        try:
            if etcd_gateway.ask(url, "/health", None, context).get("health") == "true":
                return True
        except ReleaseError:
            continue
    return False


def _context() -> ssl.SSLContext:
    folder = os.path.join(certificate_set.folder(), "etcd")
    client = os.path.join(folder, "healthcheck-client")
    return etcd_gateway.context(os.path.join(folder, "ca.crt"), f"{client}.crt", f"{client}.key")
