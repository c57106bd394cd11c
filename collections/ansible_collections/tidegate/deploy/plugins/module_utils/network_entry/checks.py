# SPDX-License-Identifier: Apache-2.0
"""What a host's facts mean for an entry: each thing that would go wrong, with its key and what to do."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping

from . import cluster_networks, host_facts, segment
from .parameters import Entry

_SKEW_BLOCKS, _SKEW_WARNS = 60.0, 5.0


def of_facts(
    entry: Entry, host: str, facts: Mapping[str, Any], is_ours: bool, has_entry: bool
) -> List[Dict[str, Any]]:
    """The checks that found something. `has_entry`: this host runs an entry; `is_ours`: with this very VIP."""
    found: List[Dict[str, Any]] = []
    _rights(found, facts)
    _interface(found, entry, host, facts)
    _address(found, entry, host, facts, is_ours, has_entry)
    _kernel(found, entry, facts)
    _neighbours(found, entry, host, facts)
    if facts.get("foreign_keepalived"):
        _blocking(
            found, "conflict", "keepalived_foreign",
            "a keepalived that is not Tidegate's is here: " + "; ".join(facts["foreign_keepalived"]),
            "Stop and disable it, or put the VIP on other hosts.",
        )  # fmt: skip
    return found


def clock_skew(host_clock: float, clock: float) -> List[Dict[str, Any]]:
    """What to say of a host's clock; both are seconds since the epoch."""
    found: List[Dict[str, Any]] = []
    skew = host_clock - clock
    if abs(skew) > _SKEW_WARNS:
        level = "blocking" if abs(skew) > _SKEW_BLOCKS else "warning"
        _add(
            found,
            level,
            "preflight_failed",
            "clock_skew",
            f"the clock is {skew:+.0f} s off",
            "Set the clock.",
        )
    return found


def _rights(found: List[Dict[str, Any]], facts: Mapping[str, Any]) -> None:
    if not facts["is_root"]:
        _blocking(
            found,
            "preflight_failed",
            "not_root",
            "keepalived needs root",
            "Let the user become root (become).",
        )
    if not facts["has_systemd"]:
        _blocking(found, "preflight_failed", "no_systemd", "the host has no systemd", "Choose another host.")
    if facts.get("deaf"):
        _add(
            found, "blocking" if facts["is_root"] else "warning", "preflight_failed", "segment_not_heard",
            f"the segment cannot be listened to: {facts['deaf']}", "Allow raw sockets (CAP_NET_RAW).",
        )  # fmt: skip


def _interface(found: List[Dict[str, Any]], entry: Entry, host: str, facts: Mapping[str, Any]) -> None:
    devices, name = facts["interfaces"], facts["interface"]
    node = entry.node(host)
    if node and not any(one.split("/")[0] == node.address for some in devices.values() for one in some):
        _blocking(
            found, "vip_unreachable", "node_address_missing",
            f"the host has not the address {node.address}", "Correct the node's address.",
        )  # fmt: skip
    if entry.priority(host) is None:
        return
    if name is None:
        _blocking(
            found, "vip_unreachable", "interface_missing",
            f"no interface has an address in {entry.network}", "Give a VIP of the directors' segment.",
        )  # fmt: skip
    elif name not in devices:
        _blocking(
            found, "vip_unreachable", "interface_missing",
            f"there is no interface {name}", "Leave `interface` out to have it found: " + ", ".join(sorted(devices)),
        )  # fmt: skip
    elif not any(host_facts.in_network(entry, one) for one in devices[name]):
        _blocking(
            found, "vip_unreachable", "interface_other_subnet",
            f"{name} has no address in {entry.network}", "Choose the interface on the VIP's segment.",
        )  # fmt: skip


def _address(
    found: List[Dict[str, Any]],
    entry: Entry,
    host: str,
    facts: Mapping[str, Any],
    is_ours: bool,
    has_entry: bool,
) -> None:
    answers = facts.get("answers") or {}
    for reason, network in cluster_networks.holding(entry.address, facts["cluster_networks"]):
        _blocking(
            found, "vip_conflict", reason, f"{entry.address} lies in {network}, which the cluster gives out itself",
            "Choose an address outside of the cluster's own networks.",
        )  # fmt: skip
    macs = set(answers.get(entry.address, []))
    ours = segment.macs_of(answers, [one.address for one in entry.directors]) if is_ours else set()
    if macs - ours:
        _blocking(
            found, "vip_conflict", "vip_answers",
            f"{entry.address} is answered for by {', '.join(sorted(macs - ours))}",
            "Choose an address that nobody has.",
        )  # fmt: skip
    if facts["vip_devices"] and not is_ours:
        _blocking(
            found, "vip_conflict", "vip_on_host",
            f"{entry.address} is on {facts['vip_devices'][0]} of this host already",
            "Choose another address, or take it away.",
        )  # fmt: skip
    taken = [
        one for one in facts["virtual_services"]
        if one["address"] == entry.address and one["port"] in entry.ports
    ]  # fmt: skip
    if taken and not is_ours:
        _blocking(
            found, "vip_conflict", "virtual_service_exists",
            f"IPVS has {entry.address}:{taken[0]['port']} already", "Find who balances there, or choose another VIP.",
        )  # fmt: skip
    known = {one.address for one in entry.directors} if has_entry else set()
    heard = [one for one in facts.get("adverts") or [] if one["virtual_router_id"] == entry.virtual_router_id]
    strangers = sorted({one["source"] for one in heard} - known)
    if strangers:
        _blocking(
            found, "vip_conflict", "virtual_router_id_heard",
            f"virtual router {entry.virtual_router_id} speaks here already, from {', '.join(strangers)}",
            "Choose another virtual_router_id.",
        )  # fmt: skip


def _kernel(found: List[Dict[str, Any]], entry: Entry, facts: Mapping[str, Any]) -> None:
    if facts["modules_missing"]:
        _blocking(
            found, "kernel_module_missing", "modules_not_loadable",
            "the kernel cannot load " + ", ".join(facts["modules_missing"]),
            "Install the modules of the running kernel, or set balancer to none.",
        )  # fmt: skip


def _neighbours(found: List[Dict[str, Any]], entry: Entry, host: str, facts: Mapping[str, Any]) -> None:
    proxy = facts["kube_proxy"]
    if proxy["ipvs"] and entry.balancer == "ipvs":
        _add(
            found, "warning" if proxy["strict_arp"] else "blocking", "preflight_failed", "kube_proxy_ipvs",
            "kube-proxy is in ipvs mode, with strictARP " + ("on" if proxy["strict_arp"] else "off"),
            "Set strictARP, and exclude the VIP (ipvs.excludeCIDRs): kube-proxy deletes services it does not know.",
        )  # fmt: skip
    for address, fault in (facts.get("certificates") or {}).items():
        if fault:
            _certificate(found, entry, facts, address, fault)
    if entry.lb_kind == "NAT" and entry.balancer == "ipvs" and entry.is_backend(host):
        gateway = facts.get("default_gateway")
        if gateway != entry.address:
            _add(
                found, "warning", "backend_nodes_invalid", "nat_return_path",
                f"answers of this host leave by {gateway or 'no gateway'}, not by the active director",
                "Let the real servers' route to the clients lead through the VIP, or use DR.",
            )  # fmt: skip


def _certificate(
    found: List[Dict[str, Any]], entry: Entry, facts: Mapping[str, Any], address: str, fault: str
) -> None:
    said = f"the certificate at {address}: {fault}"
    if entry.certificate_check != "renewed":
        _add(
            found, "blocking" if entry.certificate_check == "required" else "warning",
            "certificate_invalid", "certificate_without_vip", said,
            f"Renew it with {entry.address} among its names; certificate_check renewed lets the apply do it.",
        )  # fmt: skip
    elif fault in (host_facts.UNNAMED, host_facts.SET_ASIDE) and facts["kubeadm_made"]:
        _add(
            found, "warning", "certificate_invalid", "certificate_renewed", f"{said}: it is made again",
            "The API server starts anew with it, on one control plane after another.",
        )  # fmt: skip
    else:
        _add(
            found, "warning" if fault == host_facts.UNNAMED else "blocking", "certificate_invalid",
            "certificate_not_renewable", f"{said}, and only what kubeadm made on a control plane is made again",
            f"See that it names {entry.address}: whoever is verified at the VIP may be led there.",
        )  # fmt: skip


def _blocking(found: List[Dict[str, Any]], code: str, reason: str, message: str, hint: str) -> None:
    _add(found, "blocking", code, reason, message, hint)


def _add(found: List[Dict[str, Any]], level: str, code: str, reason: str, message: str, hint: str) -> None:
    found.append({"level": level, "code": code, "reason": reason, "message": message, "hint": hint})
