# SPDX-License-Identifier: Apache-2.0
"""A lab's networks: one that this machine can reach, and one behind the jump host that it cannot.

Both are bridges without a way out: hosts reach each other and this machine, nothing else.
"""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass
from pathlib import Path

from . import paths
from .command import LabError, run
from .engine import LAB_LABEL, Engine

POOL = ipaddress.ip_network("10.213.0.0/16")
FIRST_HOST = 10


@dataclass(frozen=True)
class Network:
    """One network of a lab. `subnet` is a /24 in CIDR notation; `name` is the engine's name of it."""

    name: str
    bridge: str
    subnet: str
    behind_jump: bool = False

    @property
    def gateway(self) -> str:
        """This machine's address in it."""
        return str(ipaddress.ip_network(self.subnet)[1])

    def address(self, number: int) -> str:
        """The address of the host with this number, counted from 0."""
        return str(ipaddress.ip_network(self.subnet)[FIRST_HOST + number])


def ensure(engine: Engine, lab: str, known: Network | None, *, behind_jump: bool = False) -> Network:
    """The lab's network, made when it is missing; its subnet is one that nothing on this machine uses."""
    # Labs of other homes choose from the same pool.
    with paths.locked(paths.SOCKETS / "tidegate-lab.lock"):
        if known is None or engine.docker("network", "inspect", known.name, check=False).returncode != 0:
            known = _create(engine, lab, known, behind_jump=behind_jump)
        if behind_jump:
            _make_unreachable(known)
    return known


def remove(engine: Engine, network: Network) -> None:
    """Remove the network, and the route that kept this machine out of it."""
    engine.docker("network", "rm", network.name, check=False)
    if network.behind_jump:
        run(["ip", "route", "del", "unreachable", network.subnet], check=False)


def _create(engine: Engine, lab: str, known: Network | None, *, behind_jump: bool) -> Network:
    key = paths.digest(str(paths.home()), lab, str(behind_jump), length=8)
    subnet = known.subnet if known else _free_subnet()
    network = Network(
        name=f"tidegate-lab-{lab}" + ("-behind" if behind_jump else ""),
        bridge=f"tgl-{key}",
        subnet=subnet,
        behind_jump=behind_jump,
    )
    engine.docker(
        "network", "create", "--driver", "bridge", "--internal", "--subnet", subnet,
        "--label", f"{LAB_LABEL}={lab}",
        "--opt", f"com.docker.network.bridge.name={network.bridge}", network.name,
    )  # fmt: skip
    return network


def _free_subnet() -> str:
    taken = [
        ipaddress.ip_network(route["dst"])
        for route in json.loads(run(["ip", "-json", "route", "show", "table", "all"]).stdout or "[]")
        if "/" in route.get("dst", "") and ":" not in route["dst"]
    ]
    for subnet in POOL.subnets(new_prefix=24):
        if not any(subnet.overlaps(other) for other in taken):
            return str(subnet)
    raise LabError(f"no free network left in {POOL}")


def _make_unreachable(network: Network) -> None:
    """Take this machine's address off the bridge, so that the only way in is the jump host.

    The route answers at once where packets would otherwise leave by the machine's default route.
    """
    if Path(f"/sys/class/net/{network.bridge}").exists():
        run(["ip", "-4", "address", "flush", "dev", network.bridge])
    run(["ip", "route", "replace", "unreachable", network.subnet])
