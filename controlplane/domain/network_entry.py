# SPDX-License-Identifier: Apache-2.0
"""The virtual IP before a cluster: what may be asked for, what a preview of it binds, how its stage is found."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from controlplane.domain.canonical import digest
from controlplane.domain.environment import STAGES
from controlplane.domain.errors import Problem

KINDS = ("apply", "rollback", "failover_test")
MODES = ("none", "lvs_vip")
LB_KINDS = ("DR", "NAT", "TUN")
LB_ALGOS = ("rr", "wrr", "lc", "wlc")
# `none`: the active director's own service answers at the VIP; for kernels without IPVS.
BALANCERS = ("ipvs", "none")
# `renewed`: the apply makes the certificates again that lack the VIP, where kubeadm made them.
CERTIFICATE_CHECKS = ("required", "warned", "skipped", "renewed")
HEALTH_KINDS = ("tcp", "https")
MOST_DIRECTORS = 3
MOST_PORTS = 32
AUTH_PASS_LENGTH = 8
# Nothing that keepalived's parser reads as more than a letter: no space, quote, brace, comment, variable.
_AUTH_PASS = re.compile(r"[A-Za-z0-9_.+:,%^/=-]*")
_INTERFACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}")
_PATH = re.compile(r"/[A-Za-z0-9/_.-]{0,99}")
_CHOOSE = "Choose an address of the nodes' segment that nothing else uses."


@dataclass(frozen=True)
class Node:
    """A host of an entry: its name, the address that others reach it at, and what it is in the cluster."""

    host: str
    address: str
    role: str = "worker"


@dataclass(frozen=True)
class Binding:
    """Everything that an apply is held to. The parameters stand in as an HMAC: the password is among them."""

    cluster_id: str
    stage: str
    kind: str
    undoes: str | None
    remove: bool
    nodes: Sequence[Mapping[str, str]]
    parameters: str
    fingerprints: Mapping[str, str]

    def digest(self) -> str:
        """Return the SHA-256 over all of it, as `sha256:...`."""
        return digest(asdict(self))


def strictest_stage(stages: Iterable[str]) -> str:
    """Return the stage of a cluster, from those of the environments that use it.

    One that nothing tells of is production: what is not known is not let through.
    """
    known = [stage for stage in STAGES if stage in set(stages)]
    return known[-1] if known else "production"


def check(given: Mapping[str, Any], nodes: Sequence[Node], networks: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of an `lvs_vip`, complete with their defaults. No message repeats the password.

    Args:
        given: as asked for; `backend_nodes` and `directors` name hosts of `nodes`.
        networks: `pod` and `service`, where known: networks that the cluster gives addresses out of itself.

    Raises:
        Problem: `validation_error` with each field, `backend_nodes_invalid`, `vip_conflict`.
    """
    asked = _Asked(given)
    known = [node.host for node in nodes]
    password = asked.text("auth_pass", "", _AUTH_PASS, "letters, digits and _.+:,%^/=- only")
    if len(password) > AUTH_PASS_LENGTH:
        asked.refuse("auth_pass", f"is longer than {AUTH_PASS_LENGTH} characters, where VRRP would cut it")
    port = asked.whole("health_check_port", 6443, 1, 65535)
    found: dict[str, Any] = {
        "vip_address": asked.read("vip_address", None, _vip),
        "interface": asked.text("interface", "", _INTERFACE, "the name of an interface") or None,
        "virtual_router_id": asked.whole("virtual_router_id", None, 1, 255),
        "auth_pass": password,
        "backend_nodes": _backends(given.get("backend_nodes"), known),
        "directors": asked.read("directors", _directors(nodes), lambda value: _names(value, known)),
        "health_check_port": port,
        "ports": asked.read("ports", [], lambda value: _ports(value, port)),
        "health_check": _health_check(asked),
        "lb_kind": asked.choice("lb_kind", LB_KINDS),
        "lb_algo": asked.choice("lb_algo", LB_ALGOS),
        # VRRP version 2, the only one with a password, counts whole seconds.
        "advert_interval": (
            asked.whole("advert_interval", 1, 1, 255)
            if password
            else asked.number("advert_interval", 1, 0.01, 40)
        ),
        "unicast": asked.flag("unicast", True),
        "nopreempt": asked.flag("nopreempt", False),
        "retry_policy": {
            "max_retries": asked.whole("retry_policy.max_retries", 3, 0, 10),
            "backoff_seconds": asked.number("retry_policy.backoff_seconds", 20, 0, 600),
        },
        "balancer": asked.choice("balancer", BALANCERS),
        "certificate_check": asked.read(
            "certificate_check", "warned", lambda value: _one_of(value, CERTIFICATE_CHECKS)
        ),
        "listen_seconds": asked.number("listen_seconds", 3, 0.2, 30),
    }
    networks = {
        name: asked.also(f"cluster_networks.{name}", networks.get(name), _network)
        for name in ("pod", "service")
    }
    asked.done()
    _check_nodes(nodes, {*found["directors"], *(one["host"] for one in found["backend_nodes"])})
    _judge(found, nodes, networks)
    return found


def shown(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters as they may be shown: whether there is a password, and not which."""
    rest = {name: value for name, value in parameters.items() if name != "auth_pass"}
    return {**rest, "has_auth_pass": bool(parameters.get("auth_pass"))}


def left_out(before: Iterable[Mapping[str, str]], after: Iterable[Mapping[str, str]]) -> list[str]:
    """Return the hosts of an entry that are no part of it any more: nobody would take their part of it away."""
    staying = {node["host_id"] for node in after}
    return sorted(node["name"] for node in before if node["host_id"] not in staying)


def with_part(nodes: Iterable[Mapping[str, str]], parameters: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the hosts that are directors or back ends; a cluster's other nodes are only led to the VIP."""
    members = {*parameters["directors"], *(one["host"] for one in parameters["backend_nodes"])}
    return [dict(node) for node in nodes if node["name"] in members]


def against_failover(entry: Mapping[str, Any], directors: Sequence[str]) -> str | None:
    """Return why a failover would interrupt for longer than VRRP needs, None where it would not.

    Args:
        entry: what a check of it found: `status`, `active_node`, `problems`.
    """
    if len(directors) < 2:
        return "there is one director: nobody would take over"
    if entry.get("status") == "failed" or not entry.get("active_node"):
        said = [str(one.get("message")) for one in entry.get("problems") or []]
        return "the entry is not well: " + ("; ".join(said) or "no director holds the VIP")
    stopped = {one.get("host") for one in entry.get("problems") or [] if one.get("host") in directors}
    standing = [name for name in directors if name != entry["active_node"] and name not in stopped]
    return None if standing else "no other director is well: nobody would take over"


class _Asked:
    """Reads fields of what was asked for, and collects what is wrong with them."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = given
        self._wrong: dict[str, list[str]] = {}

    def refuse(self, name: str, why: str) -> None:
        self._wrong.setdefault(name, []).append(why)

    def read(self, name: str, default: Any, reader: Callable[[Any], Any]) -> Any:
        """Return a field (`a.b`: of a mapping within) as its reader makes it, or what it is when left out."""
        value: Any = self._given
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is None:
            if default is None:
                self.refuse(name, "is required")
            return default
        return self.also(name, value, reader)

    def also(self, name: str, value: Any, reader: Callable[[Any], Any]) -> Any:
        try:
            return reader(value)
        except ValueError as error:
            self.refuse(name, str(error))
            return None

    def text(self, name: str, default: str, shape: re.Pattern[str], said: str) -> str:
        def reader(value: Any) -> str:
            if not isinstance(value, str) or (value and not shape.fullmatch(value)):
                raise ValueError(f"must be {said}")
            return value

        return str(self.read(name, default, reader) or "")

    def whole(self, name: str, default: int | None, lowest: int, highest: int) -> Any:
        return self.read(name, default, lambda value: _whole(value, lowest, highest))

    def number(self, name: str, default: float, lowest: float, highest: float) -> Any:
        def reader(value: Any) -> float:
            if (
                isinstance(value, bool)
                or not isinstance(value, int | float)
                or not lowest <= value <= highest
            ):
                raise ValueError(f"must be a number from {lowest} to {highest}")
            return value

        return self.read(name, default, reader)

    def choice(self, name: str, choices: Sequence[str]) -> Any:
        return self.read(name, choices[0], lambda value: _one_of(value, choices))

    def flag(self, name: str, default: bool) -> Any:
        def reader(value: Any) -> bool:
            if not isinstance(value, bool):
                raise ValueError("must be true or false")
            return value

        return self.read(name, default, reader)

    def done(self) -> None:
        """Raise Problem `validation_error` where something was wrong."""
        if self._wrong:
            raise Problem(
                "validation_error", errors={f"lvs_vip.{name}": why for name, why in self._wrong.items()}
            )


def _check_nodes(nodes: Sequence[Node], members: Collection[str]) -> None:
    """Refuse hosts without an address of their own: a worker with no part in the entry needs none."""
    for node in nodes:
        if node.role == "worker" and node.host not in members:
            continue
        try:
            ipaddress.IPv4Address(node.address)
        except ValueError:
            raise Problem(
                "backend_nodes_invalid",
                f"host {node.host} is registered as {node.address!r}, which is no IPv4 address",
                hint="Register the host with its IPv4 address: VRRP and IPVS know no names.",
            ) from None
    addresses = [node.address for node in nodes]
    if len(set(addresses)) != len(addresses):
        raise Problem("backend_nodes_invalid", "two of the hosts have the same address")


def _judge(found: Mapping[str, Any], nodes: Sequence[Node], networks: Mapping[str, str | None]) -> None:
    """Refuse what only several values together show to be wrong."""
    vip = ipaddress.IPv4Interface(found["vip_address"])
    for node in nodes:
        if node.address == str(vip.ip):
            raise Problem("vip_conflict", f"{vip.ip} is the address of {node.host}", hint=_CHOOSE)
    for network in networks.values():
        if network and vip.ip in ipaddress.IPv4Network(network):
            said = f"{vip.ip} lies in {network}, which the cluster gives out itself"
            raise Problem("vip_conflict", said, hint=_CHOOSE)
    named = {one["host"] for one in found["backend_nodes"]}
    outside = [node for node in nodes if node.host in named and not _is_in(node.address, vip)]
    if outside and (found["lb_kind"], found["balancer"]) == ("DR", "ipvs"):
        raise Problem(
            "backend_nodes_invalid",
            f"direct routing reaches real servers on the VIP's own segment only: {outside[0].host} is not in "
            f"{vip.network}",
            hint="Give a VIP of the nodes' network, or choose lb_kind NAT or TUN.",
        )


def _is_in(address: str, vip: ipaddress.IPv4Interface) -> bool:
    return ipaddress.IPv4Address(address) in vip.network


def _vip(given: Any) -> str:
    said = "must be an IPv4 address with its prefix, such as 192.0.2.10/24"
    if not isinstance(given, str) or not re.fullmatch(r"[0-9.]+/[0-9]{1,2}", given):
        raise ValueError(said)
    try:
        found = ipaddress.IPv4Interface(given)
    except ValueError:
        raise ValueError(said) from None
    if not 8 <= found.network.prefixlen <= 30:
        raise ValueError("must have the prefix of the nodes' segment: 8 to 30")
    if found.ip in (found.network.network_address, found.network.broadcast_address):
        raise ValueError("is the segment's own address or its broadcast address")
    if found.ip.is_multicast or found.ip.is_loopback or found.ip.is_unspecified or found.ip.is_link_local:
        raise ValueError("must be an address that a host can have")
    return str(found)


def _backends(given: Any, known: Sequence[str]) -> list[dict[str, Any]]:
    if not isinstance(given, list) or len(given) < 2:
        raise Problem("backend_nodes_invalid", "at least two back-end nodes are needed")
    found = []
    for one in given:
        if not isinstance(one, Mapping) or set(one) - {"host", "weight"} or one.get("host") not in known:
            raise Problem("backend_nodes_invalid", f"{one!r} is no host of the cluster")
        try:
            weight = _whole(one.get("weight", 1), 1, 255)
        except ValueError as error:
            raise Problem("validation_error", errors={"lvs_vip.backend_nodes.weight": [str(error)]}) from None
        found.append({"host": one["host"], "weight": weight})
    if len({one["host"] for one in found}) != len(found):
        raise Problem("backend_nodes_invalid", "a back-end node is named twice")
    return found


def _directors(nodes: Sequence[Node]) -> list[str]:
    """Return the control planes; the first hosts where nothing tells which those are."""
    planes = [node.host for node in nodes if node.role == "control_plane"]
    return (planes or [node.host for node in nodes])[:MOST_DIRECTORS]


def _names(value: Any, known: Sequence[str]) -> list[str]:
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_DIRECTORS:
        raise ValueError(f"must be 1 to {MOST_DIRECTORS} hosts")
    if any(name not in known for name in value) or len(set(value)) != len(value):
        raise ValueError("must be hosts of the cluster, each once")
    return list(value)


def _ports(value: Any, first: int) -> list[int]:
    if not isinstance(value, list) or len(value) > MOST_PORTS:
        raise ValueError(f"must be a list of at most {MOST_PORTS} ports")
    return [one for one in dict.fromkeys(_whole(one, 1, 65535) for one in value) if one != first]


def _health_check(asked: _Asked) -> dict[str, Any]:
    return {
        "kind": asked.choice("health_check.kind", HEALTH_KINDS),
        "path": asked.text("health_check.path", "/readyz", _PATH, "a path of letters, digits and /_.-"),
        "interval": asked.whole("health_check.interval", 2, 1, 300),
        "timeout": asked.whole("health_check.timeout", 3, 1, 60),
        "retries": asked.whole("health_check.retries", 2, 0, 20),
    }


def _network(value: Any) -> str | None:
    if value in (None, ""):
        return None
    try:
        return str(ipaddress.IPv4Network(value))
    except ValueError:
        raise ValueError("must be an IPv4 network, such as 10.244.0.0/16") from None


def _one_of(value: Any, choices: Sequence[str]) -> str:
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"must be one of {', '.join(choices)}")
    return value


def _whole(value: Any, lowest: int, highest: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
        raise ValueError(f"must be a whole number from {lowest} to {highest}")
    return value
