# SPDX-License-Identifier: Apache-2.0
"""What is asked of a network entry, checked: nothing that is not of its kind ever reaches a configuration."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Tuple

from ..release.errors import ReleaseError

API = "tidegate.network_entry/v1"
PRIORITIES = (150, 140, 130)
LB_KINDS = ("DR", "NAT", "TUN")
LB_ALGOS = ("rr", "wrr", "lc", "wlc")
# `none`: the active director's own service answers at the VIP; for kernels without IPVS.
BALANCERS = ("ipvs", "none")
CERTIFICATE_CHECKS = ("required", "warned", "skipped", "renewed")
AUTH_PASS_LENGTH = 8
# Nothing that keepalived's parser reads as more than a letter: no space, quote, brace, comment, variable.
_AUTH_PASS = re.compile(r"[A-Za-z0-9_.+:,%^/=-]*")
_INTERFACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}")
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")
_IDENTITY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_PATH = re.compile(r"/[A-Za-z0-9/_.-]{0,99}")
KNOWN = {
    "vip_address", "interface", "virtual_router_id", "auth_pass", "backend_nodes", "directors", "ports",
    "health_check_port", "health_check", "lb_kind", "lb_algo", "advert_interval", "unicast", "nopreempt",
    "retry_policy", "balancer", "certificate_check", "listen_seconds",
}  # fmt: skip


@dataclass(frozen=True)
class Node:
    """A host with the address that others reach it at, and its weight as a real server."""

    host: str
    address: str
    weight: int = 1


@dataclass(frozen=True)
class HealthCheck:
    """How a real server is asked. `kind` is tcp or https; times in seconds."""

    kind: str = "tcp"
    path: str = "/readyz"
    interval: int = 2
    timeout: int = 3
    retries: int = 2


@dataclass(frozen=True)
class Entry:
    """One VIP before a cluster. `vip` has its prefix; `advert_interval` is seconds; `ports` are TCP."""

    entry_id: str
    vip: str
    interface: Optional[str]
    virtual_router_id: int
    auth_pass: str
    directors: Tuple[Node, ...]
    backends: Tuple[Node, ...]
    nodes: Tuple[Node, ...]
    health_check_port: int
    ports: Tuple[int, ...]
    health_check: HealthCheck
    lb_kind: str
    lb_algo: str
    advert_interval: float
    unicast: bool
    nopreempt: bool
    max_retries: int
    backoff_seconds: float
    balancer: str
    certificate_check: str
    listen_seconds: float
    pod_network: Optional[str]
    service_network: Optional[str]

    @property
    def address(self) -> str:
        """The VIP without its prefix."""
        return self.vip.split("/")[0]

    @property
    def network(self) -> ipaddress.IPv4Network:
        """The network that the VIP is of."""
        return ipaddress.IPv4Interface(self.vip).network

    @property
    def is_multicast(self) -> bool:
        """Whether adverts go to VRRP's group: also where there is no peer to name."""
        return not self.unicast or len(self.directors) < 2

    def priority(self, host: str) -> Optional[int]:
        """A director's VRRP priority; None for a host that is none."""
        names = [one.host for one in self.directors]
        return PRIORITIES[names.index(host)] if host in names else None

    def node(self, host: str) -> Optional[Node]:
        """What is known of a host as director or real server; None for a host that is neither."""
        return next((one for one in (*self.directors, *self.backends) if one.host == host), None)

    def is_backend(self, host: str) -> bool:
        """Whether the host is a real server."""
        return any(one.host == host for one in self.backends)

    def floor_seconds(self, host: str) -> float:
        """How long VRRP itself takes until this director follows a dead one: 3 adverts and the skew."""
        priority = self.priority(host) or 1
        unit = 1.0 if self.auth_pass else self.advert_interval
        return 3 * self.advert_interval + (256 - priority) / 256 * unit


def parse(document: Mapping[str, Any]) -> Entry:
    """An Entry from a `tidegate.network_entry/v1` document; raises ReleaseError (validation_error,
    vip_conflict, backend_nodes_invalid)."""
    if document.get("api") != API:
        _refuse("api", f"expected {API}")
    given = document.get("lvs_vip")
    if not isinstance(given, Mapping):
        _refuse("lvs_vip", "expected a mapping")
    unknown = sorted(str(name) for name in set(given) - KNOWN)
    if unknown:
        _refuse(unknown[0], "there is no such parameter")
    nodes = _nodes(document.get("nodes"))
    auth_pass = _auth_pass(given.get("auth_pass"))
    port = _whole("health_check_port", given.get("health_check_port", 6443), 1, 65535)
    retry = _mapping("retry_policy", given.get("retry_policy"), {"max_retries", "backoff_seconds"})
    networks = _mapping("cluster_networks", document.get("cluster_networks"), {"pod", "service"})
    entry = Entry(
        entry_id=_text("entry_id", document.get("entry_id"), _IDENTITY),
        vip=_vip(given.get("vip_address")),
        interface=_interface(given.get("interface")),
        virtual_router_id=_whole("virtual_router_id", given.get("virtual_router_id"), 1, 255),
        auth_pass=auth_pass,
        directors=_directors(given.get("directors"), document["nodes"], nodes),
        backends=_backends(given.get("backend_nodes"), nodes),
        nodes=tuple(nodes.values()),
        health_check_port=port,
        ports=_ports(given.get("ports"), port),
        health_check=_health_check(given.get("health_check")),
        lb_kind=_choice("lb_kind", given.get("lb_kind", "DR"), LB_KINDS),
        lb_algo=_choice("lb_algo", given.get("lb_algo", "rr"), LB_ALGOS),
        advert_interval=_advert_interval(given.get("advert_interval", 1), bool(auth_pass)),
        unicast=_flag("unicast", given.get("unicast", True)),
        nopreempt=_flag("nopreempt", given.get("nopreempt", False)),
        max_retries=_whole("max_retries", retry.get("max_retries", 3), 0, 10),
        backoff_seconds=_number("backoff_seconds", retry.get("backoff_seconds", 20), 0, 600),
        balancer=_choice("balancer", given.get("balancer", "ipvs"), BALANCERS),
        certificate_check=_choice(
            "certificate_check", given.get("certificate_check", "skipped"), CERTIFICATE_CHECKS
        ),
        listen_seconds=_number("listen_seconds", given.get("listen_seconds", 3), 0.2, 30),
        pod_network=_network("cluster_networks.pod", networks.get("pod")),
        service_network=_network("cluster_networks.service", networks.get("service")),
    )
    _judge(entry)
    return entry


def _judge(entry: Entry) -> None:
    """What only several values together show to be wrong."""
    if entry.lb_kind != "NAT" and entry.lb_kind != "TUN":
        outside = [n.host for n in entry.backends if ipaddress.ip_address(n.address) not in entry.network]
        if outside and entry.balancer == "ipvs":
            raise ReleaseError(
                "backend_nodes_invalid",
                f"direct routing reaches real servers on the VIP's own segment only: {outside[0]} is not in"
                f" {entry.network}",
                "Give a VIP of the nodes' network, or choose lb_kind NAT or TUN.",
                reason="backend_other_subnet",
            )
    for node in entry.nodes:
        if node.address == entry.address:
            _conflict(f"{entry.address} is the address of {node.host}", "is_node_address")
    for reason, network in (
        ("in_pod_network", entry.pod_network),
        ("in_service_network", entry.service_network),
    ):
        if network and ipaddress.ip_address(entry.address) in ipaddress.ip_network(network):
            _conflict(f"{entry.address} lies in {network}, which the cluster gives out itself", reason)


def _conflict(message: str, reason: str) -> None:
    raise ReleaseError(
        "vip_conflict",
        message,
        "Choose an address of the nodes' segment that nothing else uses.",
        reason=reason,
    )


def _refuse(name: str, why: str) -> None:
    raise ReleaseError("validation_error", f"{name}: {why}", "Correct the parameter.", parameter=name)


def _nodes(given: Any) -> Dict[str, Node]:
    if not isinstance(given, list) or not given:
        _refuse("nodes", "expected a list of {host, address}")
    nodes: Dict[str, Node] = {}
    for one in given:
        if not isinstance(one, Mapping):
            _refuse("nodes", "expected a list of {host, address}")
        host = _text("nodes.host", one.get("host"), _HOST)
        if one.get("role") == "worker" and not _is_ipv4(one.get("address")):
            # It can be led to the VIP, and can be neither director nor back end.
            continue
        address = _address("nodes.address", one.get("address"))
        if host in nodes or address in {known.address for known in nodes.values()}:
            _refuse("nodes", f"{host} or its address is there twice")
        nodes[host] = Node(host, address)
    return nodes


def _directors(given: Any, listed: Any, nodes: Mapping[str, Node]) -> Tuple[Node, ...]:
    if given is None:
        planes = [one["host"] for one in listed if one.get("role") == "control_plane"]
        given = (planes or list(nodes))[: len(PRIORITIES)]
    if not isinstance(given, list) or not 1 <= len(given) <= len(PRIORITIES):
        _refuse("directors", f"expected 1 to {len(PRIORITIES)} names of nodes")
    if any(not isinstance(name, str) or name not in nodes for name in given) or len(set(given)) != len(given):
        _refuse("directors", "expected names of nodes, each once")
    return tuple(nodes[name] for name in given)


def _backends(given: Any, nodes: Mapping[str, Node]) -> Tuple[Node, ...]:
    hint = "Name at least two of the cluster's nodes."
    if not isinstance(given, list) or len(given) < 2:
        raise ReleaseError("backend_nodes_invalid", "backend_nodes: at least two are needed", hint)
    found: List[Node] = []
    for one in given:
        name, weight = (one.get("host"), one.get("weight", 1)) if isinstance(one, Mapping) else (one, 1)
        if not isinstance(name, str) or name not in nodes:
            raise ReleaseError(
                "backend_nodes_invalid",
                f"backend_nodes: {name!r} is no node of the cluster, or has no IPv4 address",
                hint,
            )
        found.append(Node(name, nodes[name].address, _whole("backend_nodes.weight", weight, 1, 255)))
    if len({one.host for one in found}) != len(found):
        raise ReleaseError("backend_nodes_invalid", "backend_nodes: a node is there twice", hint)
    return tuple(found)


def _vip(given: Any) -> str:
    try:
        if not isinstance(given, str) or "/" not in given or not re.fullmatch(r"[0-9./]+", given):
            raise ValueError
        found = ipaddress.IPv4Interface(given)
    except ValueError:
        _refuse("vip_address", f"{given!r} is no IPv4 address with its prefix, such as 192.0.2.10/24")
    if found.network.prefixlen > 30 or found.network.prefixlen < 8:
        _refuse("vip_address", "the prefix is that of the nodes' segment: 8 to 30")
    if found.ip in (found.network.network_address, found.network.broadcast_address):
        _refuse("vip_address", "this is the segment's own address or its broadcast address")
    if found.ip.is_multicast or found.ip.is_loopback or found.ip.is_unspecified or found.ip.is_link_local:
        _refuse("vip_address", "expected an address that a host can have")
    return str(found)


def _auth_pass(given: Any) -> str:
    # The value itself is in no message: it is a secret.
    if given is None or given == "":
        return ""
    if not isinstance(given, str) or not _AUTH_PASS.fullmatch(given):
        _refuse("auth_pass", "expected letters, digits and _.+:,%^/=- only")
    if len(given) > AUTH_PASS_LENGTH:
        _refuse("auth_pass", f"longer than {AUTH_PASS_LENGTH} characters, where VRRP would cut it")
    return given


def _interface(given: Any) -> Optional[str]:
    return None if given in (None, "") else _text("interface", given, _INTERFACE)


def _advert_interval(given: Any, has_password: bool) -> float:
    if has_password:
        # VRRP version 2, the only one with a password, counts whole seconds.
        return _whole("advert_interval", given, 1, 255)
    return _number("advert_interval", given, 0.01, 40)


def _ports(given: Any, first: int) -> Tuple[int, ...]:
    if given is None:
        given = []
    if not isinstance(given, list) or len(given) > 32:
        _refuse("ports", "expected a list of at most 32 ports")
    found = [first] + [_whole("ports", one, 1, 65535) for one in given]
    return tuple(dict.fromkeys(found))


def _health_check(given: Any) -> HealthCheck:
    given = _mapping("health_check", given, {"kind", "path", "interval", "timeout", "retries"})
    return HealthCheck(
        kind=_choice("health_check.kind", given.get("kind", "tcp"), ("tcp", "https")),
        path=_text("health_check.path", given.get("path", "/readyz"), _PATH),
        interval=_whole("health_check.interval", given.get("interval", 2), 1, 300),
        timeout=_whole("health_check.timeout", given.get("timeout", 3), 1, 60),
        retries=_whole("health_check.retries", given.get("retries", 2), 0, 20),
    )


def _network(name: str, given: Any) -> Optional[str]:
    if given in (None, ""):
        return None
    try:
        return str(ipaddress.IPv4Network(given))
    except ValueError:
        _refuse(name, f"{given!r} is no IPv4 network")
    return None


def _address(name: str, given: Any) -> str:
    if not _is_ipv4(given):
        _refuse(name, f"{given!r} is no IPv4 address")
    return str(given)


def _is_ipv4(given: Any) -> bool:
    try:
        return bool(ipaddress.IPv4Address(given if isinstance(given, str) else ""))
    except ValueError:
        return False


def _mapping(name: str, given: Any, keys: set) -> Mapping[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping) or set(given) - keys:
        _refuse(name, f"expected a mapping with {', '.join(sorted(keys))}")
    return given


def _text(name: str, given: Any, shape: "re.Pattern[str]") -> str:
    if not isinstance(given, str) or not shape.fullmatch(given):
        _refuse(name, f"{given!r} is not of the shape {shape.pattern}")
    return given


def _choice(name: str, given: Any, choices: Tuple[str, ...]) -> str:
    if not isinstance(given, str) or given not in choices:
        _refuse(name, f"{given!r} is none of {', '.join(choices)}")
    return given


def _flag(name: str, given: Any) -> bool:
    if not isinstance(given, bool):
        _refuse(name, f"{given!r} is neither true nor false")
    return given


def _whole(name: str, given: Any, lowest: int, highest: int) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or not lowest <= given <= highest:
        _refuse(name, f"{given!r} is no whole number from {lowest} to {highest}")
    return given


def _number(name: str, given: Any, lowest: float, highest: float) -> float:
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not lowest <= given <= highest:
        _refuse(name, f"{given!r} is no number from {lowest:g} to {highest:g}")
    return given
