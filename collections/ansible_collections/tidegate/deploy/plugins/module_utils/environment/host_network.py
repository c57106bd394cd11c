# SPDX-License-Identifier: Apache-2.0
"""Which addresses and networks a host has, and whether something answers at an address. Changes nothing."""

from __future__ import annotations

import errno
import ipaddress
import json
import socket
from typing import Any, Dict, List, Union

from ..release.errors import ReleaseError
from .journal import run

Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]
Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]
# The port that throws away what it gets; that it is closed is an answer, too.
_DISCARD = 9
_PATIENCE_SECONDS = 2.0


def place_of(address: Address) -> str:
    """The interface that has an address, or nothing. Raises ReleaseError."""
    for device in _ip("address", "show"):
        for one in device.get("addr_info") or []:
            if "local" in one and ipaddress.ip_address(one["local"]) == address:
                return str(device.get("ifname"))
    return ""


def overlapping(network: Network) -> List[str]:
    """What of the host lies in a network, or has it in itself: its addresses and its routes. Raises ReleaseError."""
    found = []
    for device in _ip("address", "show"):
        for one in device.get("addr_info") or []:
            if "local" in one and _meet(network, f"{one['local']}/{one.get('prefixlen', 128)}"):
                found.append(f"{one['local']}/{one['prefixlen']} of {device.get('ifname')}")
    for family in ("-4", "-6"):
        for route in _ip(family, "route", "show"):
            goal = str(route.get("dst", ""))
            if goal != "default" and _meet(network, goal):
                found.append(f"the route to {goal} by {route.get('dev', 'several')}")
    return list(dict.fromkeys(found))


def answers(address: Address) -> bool:
    """Whether something has an address: it takes a connection or refuses it, or its hardware address is told."""
    try:
        socket.create_connection((str(address), _DISCARD), timeout=_PATIENCE_SECONDS).close()
        return True
    except OSError as error:
        if error.errno == errno.ECONNREFUSED:
            return True
    known = _ip("neighbour", "show", "to", str(address))
    return any(one.get("lladdr") and "FAILED" not in one.get("state", []) for one in known)


def _meet(network: Network, other: str) -> bool:
    try:
        there = ipaddress.ip_network(other, strict=False)
    except ValueError:
        return False
    return there.version == network.version and there.overlaps(network)


def _ip(*words: str) -> List[Dict[str, Any]]:
    """What `ip` lists. Raises ReleaseError."""
    done = run("ip", "-json", *words)
    if done.returncode != 0:
        raise ReleaseError("preflight_failed", f"ip {words[-2]}: {done.stderr.strip()[-200:]}")
    try:
        return [one for one in json.loads(done.stdout or "[]") if one]
    except ValueError:
        raise ReleaseError("preflight_failed", "the host's ip tells nothing as JSON") from None
