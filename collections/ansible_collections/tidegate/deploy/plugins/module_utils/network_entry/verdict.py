# SPDX-License-Identifier: Apache-2.0
"""What all hosts and a machine outside say, taken together: is the entry as it should be."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Sequence

from .parameters import Entry

Lives = Mapping[str, Optional[Mapping[str, Any]]]


def of_entry(
    entry: Entry, lives: Lives, outside: Optional[Mapping[str, Any]], *, counted: bool = False,
    not_led: Sequence[str] = (),
) -> Dict[str, Any]:  # fmt: skip
    """The entry's state. `lives`: each host's own word, None for one that did not answer; `outside`: what the
    probe found, None when it could not ask. `counted`: connections went through the VIP just now, so every back
    end must have been given some. `not_led`: nodes that an apply went on without, and that may be led to the VIP
    by now.

    Answers {"status": ready | degraded | failed, "active_node", "backends", "problems"}; problems are checks
    with level, code, reason, message, hint and host.
    """
    problems: List[Dict[str, Any]] = []
    holders = [host for host, one in lives.items() if one and one["holds_vip"]]
    _holders(problems, entry, lives, holders)
    active = holders[0] if len(holders) == 1 else None
    if outside and outside.get("vip_fault"):
        _problem(
            problems, "blocking", "vip_unreachable", "vip_does_not_answer", None,
            f"{entry.address}:{entry.health_check_port} does not answer from outside: {outside['vip_fault']}",
            "See the back ends and what filters on the way.",
        )  # fmt: skip
    for host, one in lives.items():
        _host(problems, entry, host, one, active)
    for host in not_led:
        _led(problems, entry, host, lives.get(host))
    backends = _backends(problems, entry, lives, outside, active, counted)
    blocking = any(one["level"] == "blocking" for one in problems)
    return {
        "status": "failed" if blocking else "degraded" if problems else "ready",
        "active_node": active,
        "holders": holders,
        "vip_address": entry.vip,
        "backends": backends,
        "problems": problems,
    }


def _holders(problems: List[Dict[str, Any]], entry: Entry, lives: Lives, holders: List[str]) -> None:
    if len(holders) > 1:
        _problem(
            problems, "blocking", "vip_conflict", "two_holders", holders[1],
            f"{entry.address} is held by {' and '.join(holders)} at once",
            "Directors do not hear each other: let VRRP (IP protocol 112) pass between them.",
        )  # fmt: skip
    if not holders:
        unheard = [one.host for one in entry.directors if lives.get(one.host) is None]
        _problem(
            problems, "blocking", "vip_unreachable", "no_holder", None,
            f"no director holds {entry.address}" + (f"; {', '.join(unheard)} did not answer" if unheard else ""),
            "See the VRRP unit's journal on the directors.",
        )  # fmt: skip


def _led(problems: List[Dict[str, Any]], entry: Entry, host: str, live: Optional[Mapping[str, Any]]) -> None:
    if live is None or not live["is_led"]:
        said = "did not answer, and" if live is None else "answers, and"
        _problem(
            problems, "warning", "ssh_unreachable", "node_not_led", host,
            f"{host} {said} does not find its control plane at {entry.address} yet",
            "It works on without the VIP. When it answers, apply the entry again: nothing else is changed.",
        )  # fmt: skip


def _host(
    problems: List[Dict[str, Any]], entry: Entry, host: str, live: Optional[Mapping[str, Any]],
    active: Optional[str],
) -> None:  # fmt: skip
    if entry.node(host) is None:
        return
    if live is None:
        _problem(
            problems, "warning", "ssh_unreachable", "host_unreachable", host, f"{host} did not answer",
            "See that the host is up.",
        )  # fmt: skip
        return
    if not live["installed"]:
        _problem(
            problems, "blocking", "preflight_failed", "not_installed", host, f"{host} has no network entry",
            "Apply the entry.",
        )  # fmt: skip
        return
    if entry.priority(host) is not None and not live["vrrp"]:
        _problem(
            problems, "warning", "vip_unreachable", "vrrp_stopped", host, f"VRRP does not run on {host}",
            "See the unit's journal; apply the entry again.",
        )  # fmt: skip
    if entry.balancer == "ipvs" and entry.priority(host) is not None and live["balances"] != (host == active):
        is_active = host == active
        _problem(
            problems, "blocking", "vip_conflict" if not is_active else "vip_unreachable",
            "active_does_not_balance" if is_active else "standby_balances", host,
            f"{host} {'is active and has no' if is_active else 'is on standby and has a'} virtual service",
            "See the balancer unit's journal on the host.",
        )  # fmt: skip
    if not live["holds_quietly"] or not live["settings_kept"]:
        _problem(
            problems, "blocking", "preflight_failed", "real_server_settings_lost", host,
            f"{host} is no longer set up as a real server", "Apply the entry again.",
        )  # fmt: skip


def _backends(
    problems: List[Dict[str, Any]], entry: Entry, lives: Lives, outside: Optional[Mapping[str, Any]],
    active: Optional[str], counted: bool,
) -> List[Dict[str, Any]]:  # fmt: skip
    live = lives.get(active) if active else None
    services = {one["port"]: one for one in (live or {}).get("services", [])}
    faults = (outside or {}).get("backend_faults") or {}
    found = []
    for node in entry.backends:
        ports = []
        for port in entry.ports if entry.balancer == "ipvs" else ():
            servers = services.get(port, {}).get("real_servers", [])
            own = next((one for one in servers if one["address"] == node.address), None)
            ports.append({"port": port, "in_table": own is not None, "given": (own or {}).get("given")})
        watched = next((one for one in ports if one["port"] == entry.health_check_port), None)
        dead = bool(faults.get(node.address)) or (
            live is not None and bool(watched) and not watched["in_table"]
        )
        found.append({"host": node.host, "address": node.address, "alive": not dead, "ports": ports})
        if dead:
            _problem(
                problems, "warning", "backend_nodes_invalid", "backend_dead", node.host,
                f"back end {node.host} does not serve: {faults.get(node.address) or 'it failed its check'}",
                "It comes back by itself when its service answers.",
            )  # fmt: skip
        elif counted and watched and not watched["given"]:
            _problem(
                problems, "blocking", "backend_nodes_invalid", "backend_not_reached", node.host,
                f"no connection to the VIP reached {node.host}", "See its weight and that it hears the VIP.",
            )  # fmt: skip
    return found


def _problem(
    problems: List[Dict[str, Any]], level: str, code: str, reason: str, host: Optional[str], message: str,
    hint: str,
) -> None:  # fmt: skip
    problems.append(
        {"level": level, "code": code, "reason": reason, "host": host, "message": message, "hint": hint}
    )
