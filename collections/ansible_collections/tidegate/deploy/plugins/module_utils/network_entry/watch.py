# SPDX-License-Identifier: Apache-2.0
"""What an entry does on a host now, and the order to one director to stand back for a while."""

from __future__ import annotations

import time
from typing import Any, Dict, List, Mapping

from ..release.errors import ReleaseError
from . import endpoint, host_command, host_facts, host_units, keepalived_config, remembered
from .parameters import parse
from .recorded_step import Step

# What a host says that has no part in an entry.
NO_PART: Dict[str, Any] = {
    "installed": False, "holds_vip": False, "balances": False, "vrrp": False, "services": [],
}  # fmt: skip


def inspect(payload: Mapping[str, Any], steps: List[Dict[str, Any]]) -> Dict[str, Any]:
    """This host's part of the entry. `settle_seconds` in the payload waits until it stays the same that long, and
    `wait_vrrp` until VRRP runs and has run for `election_seconds`: then it is decided who has the VIP. Who has it is
    waited for until its table is whole, for `table_seconds` at most: a back end joins it after its first check."""
    end = time.monotonic() + float(payload.get("timeout") or 0)
    quiet_for, since, last = float(payload.get("settle_seconds") or 0), time.monotonic(), None
    table_end = time.monotonic() + float(payload.get("table_seconds") or 0)
    while True:
        now = live()
        key = (now["holds_vip"], now["balances"], now["vrrp"])
        if key != last:
            last, since = key, time.monotonic()
        is_waited_for = payload.get("wait_vrrp") and now["installed"] and now["priority"] is not None
        is_back = not is_waited_for or (
            now["vrrp"] and _uptime(host_units.VRRP_UNIT) >= float(payload.get("election_seconds") or 0)
        )
        is_waiting = time.monotonic() < table_end and not is_whole(now, int(payload.get("backends") or 0))
        is_settled = is_back and not is_waiting and time.monotonic() - since >= quiet_for
        if is_settled or time.monotonic() > end:
            return {"changed": False, "live": {**now, "is_led": _is_led(payload)}}
        time.sleep(0.1)


def is_whole(now: Mapping[str, Any], backends: int) -> bool:
    """Whether this host has not the VIP, or spreads what comes to it over so many real servers (0: over none)."""
    if not now["holds_vip"] or not backends:
        return True
    tables = [len(one["real_servers"]) for one in now["services"]]
    return bool(tables) and min(tables) >= backends


def live() -> Dict[str, Any]:
    """Who this host is in the entry, as it is now."""
    state = remembered.read()
    current = state.get("active") or state.get("current")
    if not current:
        return dict(NO_PART)
    address = current["vip"].split("/")[0]
    held = [
        name
        for name, addresses in host_facts.interfaces().items()
        if address in [one.split("/")[0] for one in addresses] and name == current["interface"]
    ]
    quiet = host_facts.interfaces().get(current["holds_quietly"] or "", [])
    services = [one for one in host_facts.virtual_services() if one["address"] == address]
    for one in services:
        _count(one, current)
    return {
        "installed": True,
        "entry_id": current["entry_id"],
        "vip": current["vip"],
        "priority": current["priority"],
        "vrrp": _active(host_units.VRRP_UNIT),
        "holds_vip": bool(held),
        "balances": bool(services),
        "holds_quietly": current["holds_quietly"] is None or f"{address}/32" in quiet,
        "settings_kept": all(
            (remembered.text_of(f"/proc/sys/{key}") or "").strip() == value
            for key, value in current["sysctls"].items()
        ),
        "balancer": current["balancer"],
        "services": services,
    }


def _is_led(payload: Mapping[str, Any]) -> bool:
    """Whether the control plane's name leads to the VIP here, where it should."""
    plan = endpoint.plan(parse(payload["document"]))
    return plan is None or plan["from"] == plan["to"]


def stand_back(payload: Mapping[str, Any], steps: List[Dict[str, Any]]) -> Dict[str, Any]:
    """Stop VRRP here after `delay` seconds and start it again `seconds` later, whatever becomes of the caller."""
    if not _active(host_units.VRRP_UNIT):
        raise ReleaseError(
            "release_state_invalid", "VRRP does not run on this host", "Apply the entry first."
        )
    delay, seconds = float(payload["delay"]), float(payload["seconds"])
    if payload["check_mode"]:
        return {"changed": True}
    with Step(steps, "stand_back") as step:
        for name, when, verb in (("return", delay + seconds, "start"), ("leave", delay, "stop")):
            done = host_command.run(
                ["systemd-run", "--quiet", "--collect", f"--unit=tidegate-network-entry-{name}",
                 f"--on-active={int(when * 1000)}ms", "--timer-property=AccuracySec=10ms",
                 keepalived_config.SYSTEMCTL, verb, host_units.VRRP_UNIT]
            )  # fmt: skip
            if done.exit_code != 0:
                raise ReleaseError(
                    "conflict", f"a failover test is at work: {done.said.strip()}", "Wait for it."
                )
        step.changed = True
    return {"changed": True}


def _count(service: Dict[str, Any], current: Mapping[str, Any]) -> None:
    """Add how many connections each real server was given since it joined: at least so many.

    The kernel adds its counters up every two seconds; what goes on now, or has just ended, it tells at once.
    """
    _keepalived, ipvsadm, libraries = current["programs"]
    if not ipvsadm:
        return
    endpoint = f"{service['address']}:{service['port']}"
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "LD_LIBRARY_PATH": libraries}
    said = host_command.run(
        [ipvsadm, "--list", "--numeric", "--exact", "--stats", "--tcp-service", endpoint], environment
    ).said
    given = {}
    for line in said.splitlines():
        words = line.split()
        if words[:1] == ["->"] and len(words) > 2 and words[2].isdigit():
            given[words[1]] = int(words[2])
    for one in service["real_servers"]:
        counted = given.get(f"{one['address']}:{one['port']}", 0)
        one["given"] = max(counted, one["connections"] + one["inactive"])


def _uptime(unit: str) -> float:
    """For how many seconds a unit has run; no end of them for one that does not."""
    said = host_command.run(
        ["systemctl", "show", "--value", "--property=ActiveEnterTimestampMonotonic", unit]
    ).said
    began = said.strip()
    if not began.isdigit() or began == "0" or not _active(unit):
        return float("inf")
    return time.clock_gettime(time.CLOCK_MONOTONIC) - int(began) / 1e6


def _active(unit: str) -> bool:
    return host_command.run(["systemctl", "is-active", "--quiet", unit]).exit_code == 0
