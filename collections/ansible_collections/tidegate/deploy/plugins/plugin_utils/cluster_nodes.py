# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The hosts of an environment as nodes of a cluster: from its document, or by hand from the inventory."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError

GROUP = "environment_hosts"
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*\Z")


@dataclass(frozen=True)
class Node:
    """One node; `host` is its name in the inventory, `name` the one in the cluster."""

    host: str
    name: str
    role: str
    address: str


def documents(spec: Mapping[str, Any], variables: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The nodes as an environment spec has them (`host`, `role`, `address`); without one, the inventory's group."""
    given = spec.get("nodes")
    if given:
        return [dict(one) for one in given]
    hostvars = variables.get("hostvars") or {}
    return [
        {
            "host": host,
            "role": hostvars[host].get("tidegate_role"),
            "address": hostvars[host].get("ansible_host") or host,
        }
        for host in (variables.get("groups") or {}).get(GROUP, [])
        if host in hostvars and hostvars[host].get("tidegate_role")
    ]


def of(nodes: list[dict[str, Any]]) -> list[Node]:
    """The nodes of a cluster. Raises ReleaseError validation_error for a name no node can have, or that two have."""
    found = [
        Node(str(one["host"]), _name(str(one["host"])), str(one["role"]), address(str(one["address"])))
        for one in nodes
    ]
    for what, values in (("name", [one.name for one in found]), ("address", [one.address for one in found])):
        twice = sorted({one for one in values if values.count(one) > 1})
        if twice:
            raise ReleaseError("validation_error", f"nodes: two have the {what} {', '.join(twice)}")
    return found


def first(nodes: list[Node]) -> Node:
    """The control plane that the cluster begins with. Raises ReleaseError insufficient_nodes."""
    planes = [one for one in nodes if one.role == "control_plane"]
    if not planes:
        raise ReleaseError(
            "insufficient_nodes", "no host is a control plane", "Give one or three the role control_plane."
        )
    return planes[0]


def leaving(spec: Mapping[str, Any], variables: Mapping[str, Any], nodes: list[dict[str, Any]]) -> list[str]:
    """The hosts that are to leave: the document's `remove`, or by hand the variable `environment_remove_nodes`, a list
    or words with commas between them. Raises ReleaseError validation_error, node_role_invalid."""
    given = spec.get("remove") or variables.get("environment_remove_nodes") or []
    hosts = (
        [one.strip() for one in given.split(",") if one.strip()] if isinstance(given, str) else list(given)
    )
    roles = {str(one["host"]): one["role"] for one in nodes}
    begun = next((str(one["host"]) for one in nodes if one["role"] == "control_plane"), None)
    for host in hosts:
        if host not in roles:
            raise ReleaseError("validation_error", f"remove: no node is called {host}")
        if roles[host] not in ("worker", "control_plane") or host == begun:
            raise ReleaseError(
                "node_role_invalid",
                f"{host} is the control plane that the cluster began with, and that the others ask: it stays",
                "Roll the environment back to take the whole cluster away.",
            )
    return hosts


def address(given: str) -> str:
    """An address as nodes are told it; a name is looked up. Raises ReleaseError validation_error."""
    try:
        return str(ipaddress.ip_address(given))
    except ValueError:
        pass
    try:
        return str(socket.getaddrinfo(given, None, type=socket.SOCK_STREAM)[0][4][0])
    except OSError as error:
        raise ReleaseError("validation_error", f"nodes: {given} has no address: {error}") from error


def _name(host: str) -> str:
    name = host.lower()
    if len(name) > 253 or not _NAME.match(name):
        raise ReleaseError(
            "validation_error",
            f"nodes: {host} cannot be the name of a node",
            "Use letters, digits, - and . in the host's name.",
        )
    return name
