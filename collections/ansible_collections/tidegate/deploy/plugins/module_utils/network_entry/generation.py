# SPDX-License-Identifier: Apache-2.0
"""One state of a host's entry as data, and the way from one to another: the same for apply, rollback, removal."""

from __future__ import annotations

import os
import time
from typing import Any, Dict, List, Mapping, Optional

from ..release.errors import ReleaseError
from . import host_command, host_units, keepalived_config, remembered
from .parameters import Entry

Generation = Dict[str, Any]
NOTHING: Generation = {
    "units": {},
    "enabled": [],
    "sysctls": {},
    "modules": [],
    "config": None,
    "artifacts": [],
}


def wanted(
    entry: Entry,
    host: str,
    interface: str,
    artifacts: Mapping[str, Mapping[str, Any]],
    tools: host_units.Programs,
) -> Generation:
    """What this host is to be: texts, settings, and what others ask of it later."""
    units = host_units.units(entry, host, interface, tools)
    is_director = entry.priority(host) is not None
    return {
        "entry_id": entry.entry_id,
        "vip": entry.vip,
        "interface": interface,
        "priority": entry.priority(host),
        "ports": list(entry.ports),
        "balancer": entry.balancer,
        "advert_interval": entry.advert_interval,
        "holds_quietly": host_units.quiet_device(entry) if host_units.needs_address(entry, host) else None,
        "units": units,
        "enabled": host_units.enabled(units),
        "sysctls": host_units.sysctls(entry, host),
        "modules": host_units.kernel_modules(entry, host),
        "config": keepalived_config.render(entry, host, interface) if is_director else None,
        "artifacts": sorted(one["sha256"] for one in artifacts.values()) if is_director else [],
        "programs": [tools.keepalived, tools.ipvsadm, tools.libraries],
    }


def same(one: Optional[Mapping[str, Any]], other: Mapping[str, Any]) -> bool:
    """Whether two generations make the same host."""
    return one is not None and all(one.get(key) == value for key, value in other.items())


def put(old: Mapping[str, Any], new: Mapping[str, Any], before: Dict[str, Any]) -> bool:
    """Make the host what `new` says; `before` gains what was there before the first entry. Says what changed.

    `before`: {"sysctls": {path: value}, "modules": [loaded by us]}. Units that stay as they are keep running.
    """
    changed = _stop_old(old, new)
    _take_modules(new, before)
    changed |= _write_files(new)
    changed |= _set_sysctls(new, before)
    return _start(old, new) or changed


def config_file_differs(new: Mapping[str, Any]) -> bool:
    """Whether keepalived.conf is not what the generation says."""
    return remembered.text_of(remembered.CONFIG) != new["config"]


def _stop_old(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    going = [name for name, text in old["units"].items() if new["units"].get(name) != text]
    # What needs another is stopped first: the balancer, then VRRP, then the address.
    for name in sorted(going, key=_order, reverse=True):
        _systemctl("stop", name)
        if name not in new["units"]:
            if name in old["enabled"]:
                _systemctl("disable", name)
            _unlink(os.path.join(remembered.UNITS, name))
    if going:
        _systemctl("daemon-reload")
    return bool(going)


def _write_files(new: Mapping[str, Any]) -> bool:
    changed = False
    for name, text in new["units"].items():
        path = os.path.join(remembered.UNITS, name)
        if remembered.text_of(path) != text:
            remembered.write_file(path, text, 0o644)
            changed = True
    if changed:
        _systemctl("daemon-reload")
    if new["config"] is None:
        return _unlink(remembered.CONFIG) or changed
    if config_file_differs(new):
        remembered.write_file(remembered.CONFIG, new["config"], 0o600)
        changed = True
    return changed


def _start(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    changed = False
    missing = [name for name in new["enabled"] if not _is("is-enabled", name)]
    if missing:
        _systemctl("enable", *missing)
    for name in sorted(new["enabled"], key=_order):
        if not _is("is-active", name):
            _systemctl("start", name)
            changed = True
        elif name == host_units.VRRP_UNIT and old.get("config") != new["config"]:
            _systemctl("reload", name)
            changed = True
    if old.get("config") != new["config"] and _is("is-active", keepalived_config.BALANCER_UNIT):
        _systemctl("reload", keepalived_config.BALANCER_UNIT)
    return changed or bool(missing)


def _set_sysctls(new: Mapping[str, Any], before: Dict[str, Any]) -> bool:
    changed = False
    known = before.setdefault("sysctls", {})
    # A tunnel's own settings are not there before its module is.
    for key, value in new["sysctls"].items():
        path = f"/proc/sys/{key}"
        now = (remembered.text_of(path) or "").strip()
        if now and key not in known:
            known[key] = now
        if now and now != value:
            _write_setting(path, value)
            changed = True
    for key in [one for one in known if one not in new["sysctls"]]:
        _write_setting(f"/proc/sys/{key}", known.pop(key))
        changed = True
    return changed


def _write_setting(path: str, value: str) -> None:
    try:
        with open(path, "w", encoding="utf-8") as setting:
            setting.write(value)
    except FileNotFoundError:
        return


def _take_modules(new: Mapping[str, Any], before: Dict[str, Any]) -> None:
    loaded = before.setdefault("modules", [])
    for name in new["modules"]:
        if os.path.isdir(f"/sys/module/{name}"):
            continue
        already = _loaded_modules()
        done = host_command.run(["modprobe", name])
        if done.exit_code != 0:
            raise ReleaseError(
                "kernel_module_missing", f"{name} cannot be loaded: {done.said.strip()}",
                "Install the modules of the running kernel.",
            )  # fmt: skip
        # Those that it needs came with it, and would stay behind with their settings.
        loaded += [one for one in reversed(_loaded_modules()) if one not in already]


def _loaded_modules() -> List[str]:
    """The newest first."""
    return [line.split()[0] for line in (remembered.text_of("/proc/modules") or "").splitlines()]


def unload_modules(before: Mapping[str, Any]) -> None:
    """Take out the modules that the entry loaded, as far as nobody else uses them."""
    for name in reversed(before.get("modules", [])):
        # Virtual services go with the process that made them, a moment after it.
        for _attempt in range(20):
            if name not in _loaded_modules():
                break
            if host_command.run(["modprobe", "--remove", name]).exit_code == 0:
                break
            time.sleep(0.1)


def _order(name: str) -> int:
    return [host_units.ADDRESS_UNIT, host_units.VRRP_UNIT, keepalived_config.BALANCER_UNIT].index(name)


def _is(question: str, name: str) -> bool:
    return host_command.run(["systemctl", question, "--quiet", name]).exit_code == 0


def _systemctl(verb: str, *names: str) -> None:
    done = host_command.run(["systemctl", "--quiet", verb, *names], timeout=120)
    if done.exit_code != 0:
        said = _journal(names) if verb in ("start", "reload") else ""
        raise ReleaseError(
            "preflight_failed" if verb == "daemon-reload" else "vip_unreachable",
            f"systemctl {verb} {' '.join(names)} ended with {done.exit_code}: {done.said.strip()} {said}",
            "See the journal of these units on the host.",
        )


def _journal(names: Any) -> str:
    units: List[str] = [word for name in names for word in ("-u", name)]
    return host_command.run(["journalctl", "--no-pager", "-q", "-n", "15", "-o", "cat", *units]).said


def _unlink(path: str) -> bool:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True
