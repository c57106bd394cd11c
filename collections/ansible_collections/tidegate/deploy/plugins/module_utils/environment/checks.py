# SPDX-License-Identifier: Apache-2.0
"""The checks of a bundle's index, held against a host. Each answers what was found when it is not as expected."""

from __future__ import annotations

import ipaddress
import os
import re
import subprocess
from typing import Any, Dict, List, Optional

from ..release.errors import ReleaseError
from . import host_facts, host_network


def hold(
    checks: List[Dict[str, Any]], facts: Dict[str, Any], inputs: Dict[str, Any], skew_seconds: float
) -> List[Dict[str, Any]]:
    """One entry for each check that fails: `level`, `code`, `check`, `message`, `hint`, `found`."""
    failed = []
    for check in checks:
        found = _KINDS[check["kind"]](check["expect"], facts, inputs, skew_seconds)
        if found is not None:
            failed.append(
                {
                    "level": check["severity"],
                    "code": "preflight_failed" if check["severity"] == "blocking" else check["id"],
                    "check": check["id"],
                    "message": f"{check['message']}: {found}",
                    "hint": check.get("remediation", ""),
                    "found": found,
                }
            )
    return failed


def _kernel(expect: Dict[str, Any], facts: Dict[str, Any], _inputs: Any, _skew: float) -> Optional[str]:
    there = tuple(int(part) for part in re.findall(r"\d+", facts["kernel"])[:2])
    wanted = tuple(int(part) for part in expect["at_least"].split("."))
    return None if there >= wanted else f"it is {facts['kernel']}"


def _cgroup(expect: Dict[str, Any], facts: Dict[str, Any], _inputs: Any, _skew: float) -> Optional[str]:
    if expect.get("version") not in (None, facts["cgroup_version"]):
        return f"cgroups are of version {facts['cgroup_version']}"
    missing = [one for one in expect["controllers"] if one not in facts["cgroup_controllers"]]
    return f"without {', '.join(missing)}" if missing else None


def _disk(expect: Dict[str, Any], _facts: Any, _inputs: Any, _skew: float) -> Optional[str]:
    free = host_facts.free_mb(expect["path"])
    return None if free >= expect["free_mb"] else f"{free} MB are free, {expect['free_mb']} are needed"


def _memory(expect: Dict[str, Any], facts: Dict[str, Any], _inputs: Any, _skew: float) -> Optional[str]:
    there = facts["memory_mb"] or 0
    return None if there >= expect["total_mb"] else f"{there} MB, {expect['total_mb']} are needed"


def _clock(expect: Dict[str, Any], _facts: Any, _inputs: Any, skew: float) -> Optional[str]:
    return None if abs(skew) <= expect["within_seconds"] else f"it is {skew:+.0f} s off"


def _swap(_expect: Any, facts: Dict[str, Any], _inputs: Any, _skew: float) -> Optional[str]:
    return f"{facts['swap_mb']} MB" if facts["swap_mb"] else None


def _port(expect: Dict[str, Any], _facts: Any, _inputs: Any, _skew: float) -> Optional[str]:
    protocol = expect.get("protocol", "tcp")
    used = [port for port in expect["ports"] if host_facts.is_listening(port, protocol)]
    return f"{protocol} {', '.join(map(str, used))}" if used else None


def _kernel_module(expect: Dict[str, Any], _facts: Any, _inputs: Any, _skew: float) -> Optional[str]:
    missing = [one for one in expect["modules"] if not host_facts.has_module(one)]
    return ", ".join(missing) or None


def _file(expect: Dict[str, Any], _facts: Any, _inputs: Any, _skew: float) -> Optional[str]:
    is_there = os.path.lexists(expect["path"])
    if is_there == (expect["state"] == "present"):
        return None
    return f"{expect['path']} is {'there' if is_there else 'not there'}"


def _command(expect: Dict[str, Any], _facts: Any, _inputs: Any, _skew: float) -> Optional[str]:
    try:
        done = subprocess.run(
            expect["argv"], capture_output=True, text=True, timeout=expect.get("timeout", 30), check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == expect.get("exit_code", 0):
        return None
    return f"{expect['argv'][0]} ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-300:]}"


def _address(expect: Dict[str, Any], _facts: Any, inputs: Dict[str, Any], _skew: float) -> Optional[str]:
    given = inputs.get(expect["input"])
    try:
        address = ipaddress.ip_interface(str(given)).ip
    except ValueError:
        return f"{expect['input']} is {given!r}, no address"
    if not expect.get("free", False):
        return None
    try:
        place = host_network.place_of(address)
        taken = f"is on {place}" if place else "answers" if host_network.answers(address) else ""
    except ReleaseError as error:
        return str(error)
    return f"{address} {taken}" if taken else None


def _subnet(expect: Dict[str, Any], _facts: Any, inputs: Dict[str, Any], _skew: float) -> Optional[str]:
    given = inputs.get(expect["input"])
    try:
        network = ipaddress.ip_network(str(given))
    except ValueError:
        return f"{expect['input']} is {given!r}, no network"
    if not expect.get("free", True):
        return None
    try:
        taken = host_network.overlapping(network)
    except ReleaseError as error:
        return str(error)
    return f"{network} meets {', '.join(taken)}" if taken else None


_KINDS = {
    "kernel": _kernel,
    "cgroup": _cgroup,
    "disk": _disk,
    "memory": _memory,
    "clock": _clock,
    "swap": _swap,
    "port": _port,
    "kernel_module": _kernel_module,
    "file": _file,
    "command": _command,
    "address": _address,
    "subnet": _subnet,
}
