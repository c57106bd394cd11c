# SPDX-License-Identifier: Apache-2.0
"""What the entry's modules do on a host: preview, prepare and activate, rollback."""

from __future__ import annotations

import hashlib
import hmac
import os
import shutil
from typing import Any, Dict, List, Mapping, Optional, Tuple

from ..host import step_record
from ..release.errors import ReleaseError
from . import (
    checks,
    endpoint,
    generation,
    host_command,
    host_facts,
    host_units,
    keepalived_config,
    parameters,
    programs,
    remembered,
)
from .parameters import Entry
from .recorded_step import Step

_STAGED = remembered.CONFIG + ".staged"
Steps = List[Dict[str, Any]]


def preview(payload: Mapping[str, Any], steps: Steps) -> Dict[str, Any]:
    """Facts and what they mean; nothing is changed."""
    entry, host = parameters.parse(payload["document"]), payload["host"]
    facts = host_facts.gather(entry, host)
    state = remembered.read()
    current = state.get("current") or {}
    is_ours = current.get("vip") == entry.vip
    found = checks.of_facts(entry, host, facts, is_ours, bool(current))
    interface = facts["interface"] or ""
    key = bytes.fromhex(payload["veil_key"])
    before = _masked(remembered.text_of(remembered.CONFIG) or "", key)
    after = _masked(_config(entry, host, interface) or "", key) if interface else ""
    parts = _parts(entry, host, interface, facts, state, before, after)
    return {
        "changed": False,
        "checks": found,
        "clock": facts["clock"],
        "before": before,
        "after": after,
        "parts": parts,
        "is_own_work": bool(payload.get("operation")) and state.get("operation") == payload["operation"],
        "rollback": _way_back(state, key),
        "entry": {
            "interface": interface, "priority": entry.priority(host), "is_backend": entry.is_backend(host),
            "quiet_device": host_units.quiet_device(entry) if host_units.needs_address(entry, host) else None,
            "sysctls": host_units.sysctls(entry, host), "modules": host_units.kernel_modules(entry, host),
            "installed": bool(current), "certificate": _certificate(entry, facts), "endpoint": endpoint.plan(entry),
            "leaves_vip": endpoint.leaves(entry, current),
        },
    }  # fmt: skip


def prepare(payload: Mapping[str, Any], steps: Steps) -> Dict[str, Any]:
    """Install the programs and stage a configuration that keepalived itself finds good; nothing runs by it yet.

    Answers `missing`, and does nothing, when artifacts are to be delivered first.
    """
    entry, host = parameters.parse(payload["document"]), payload["host"]
    if entry.node(host) is None:
        # A node that has no part in the entry: only the control plane's name is moved there.
        return {"changed": endpoint.back(entry, payload, steps, stays=True), "missing": []}
    is_director = entry.priority(host) is not None
    artifacts = payload["artifacts"] if is_director else {}
    arrived = payload.get("arrived") or {}
    lacking = [one for one in programs.missing(artifacts) if one not in arrived]
    if payload["check_mode"] or lacking:
        return {"changed": payload["check_mode"], "missing": [] if payload["check_mode"] else lacking}
    changed, is_new = False, not os.path.isdir(os.path.dirname(remembered.folder()))
    with remembered.held(payload["holder"], payload.get("fencing_token")):
        state = remembered.read()
        state.setdefault("before", {}).setdefault("no_state_folder", is_new)
        with Step(steps, "install") as step:
            state["delivered"] = sorted({*state.get("delivered", []), *programs.take(arrived)})
            _keep(state, payload)
            step.changed = programs.install(artifacts)
            changed |= step.changed
        with Step(steps, "configure") as step:
            step.changed = _stage(entry, host, artifacts, step)
            changed |= step.changed
    # Another VIP than before: nobody is led to the old one any more when it goes.
    changed |= endpoint.back(entry, payload, steps, stays=True)
    return {"changed": changed, "missing": []}


def activate(payload: Mapping[str, Any], steps: Steps) -> Dict[str, Any]:
    """Put the staged configuration in place of the old one, which is kept, and run by it."""
    entry, host = parameters.parse(payload["document"]), payload["host"]
    if entry.node(host) is None:
        return {"changed": False}
    if payload["check_mode"]:
        return {"changed": True}
    with remembered.held(payload["holder"], payload.get("fencing_token")), Step(steps, "activate") as step:
        state = remembered.read()
        artifacts = payload["artifacts"] if entry.priority(host) is not None else {}
        new = generation.wanted(entry, host, _interface(entry), artifacts, _tools(artifacts))
        current = state.get("current")
        if not generation.same(current, new):
            if current:
                state["previous"] = current
                if current["config"] is not None:
                    remembered.write_file(remembered.PREVIOUS_CONFIG, current["config"], 0o600)
            # Remembered before anything is done: what is half done can be taken back.
            state["current"] = new
            state["previous_operation"] = state.get("current_operation")
            state["current_operation"] = payload.get("operation")
        old = state.get("active") or generation.NOTHING
        before = state.setdefault("before", {})
        _keep(state, payload)
        try:
            step.changed = generation.put(old, new, before)
        finally:
            _keep(state, payload)
        state["active"] = new
        _unlink(_STAGED)
        programs.remove_all_but(_artifacts_of(state))
        _keep(state, payload)
    return {"changed": step.changed}


def roll_back(payload: Mapping[str, Any], steps: Steps) -> Dict[str, Any]:
    """Back to the generation before this one; to nothing when there was none, or when `remove` says so.

    `undo` names the operation that is taken back: a host where it did not come that far stays as it is, and one
    where this very rollback was done already goes back no further.
    """
    state = remembered.read()
    if not state and not os.path.isdir(remembered.CONFIG_FOLDER) and not os.path.isdir(remembered.PROGRAMS):
        return {"changed": False, "removed": True}
    if payload["check_mode"]:
        return {"changed": True, "removed": False}
    with remembered.held(payload["holder"], payload.get("fencing_token")):
        if _is_untouched(state, payload):
            _unlink(_STAGED)
            return {"changed": False, "removed": False}
        previous = None if payload.get("remove") else state.get("previous")
        name = "restore" if previous else "remove"
        with Step(steps, name) as step:
            old = state.get("active") or state.get("current") or generation.NOTHING
            old = _with_all_units(old, state)
            goal = previous or generation.NOTHING
            step.changed = True
            generation.put(old, goal, state.setdefault("before", {}))
            if previous:
                state |= {"current": previous, "active": previous, "previous": None}
                state["current_operation"] = state.get("previous_operation")
                state["rolled_back_by"] = payload.get("operation")
                _unlink(remembered.PREVIOUS_CONFIG)
                programs.remove_all_but(_artifacts_of(state))
                _keep(state, payload)
            else:
                _forget(state)
    if not previous and (state.get("before") or {}).get("no_state_folder"):
        # After the lock, which lies in it.
        programs.remove_empty(os.path.dirname(remembered.folder()))
    return {"changed": True, "removed": not previous}


def _certificate(entry: Entry, facts: Mapping[str, Any]) -> Optional[Dict[str, Any]]:
    """Whether the API server's certificate names the VIP, where that was asked for, and what an apply does about it."""
    faults = list(facts["certificates"].values())
    if not faults:
        return None
    renewable = entry.certificate_check == "renewed" and facts["kubeadm_made"]
    return {
        "names_vip": not faults[0], "fault": faults[0], "renewable": renewable,
        "action": "renew" if faults[0] and renewable else "none",
    }  # fmt: skip


def _is_untouched(state: Mapping[str, Any], payload: Mapping[str, Any]) -> bool:
    operation, undo = payload.get("operation"), payload.get("undo")
    if operation and state.get("rolled_back_by") == operation:
        return True
    if payload.get("remove") or not undo or not state.get("current"):
        return False
    return bool(state.get("current_operation") != undo)


def _way_back(state: Mapping[str, Any], key: bytes) -> Dict[str, Any]:
    """Which operation made what is here, and the configuration that a rollback of it goes back to."""
    previous = state.get("previous") or {}
    return {
        "operation": state.get("current_operation"),
        "after": _masked(previous.get("config") or "", key),
    }


def _with_all_units(old: Mapping[str, Any], state: Mapping[str, Any]) -> Dict[str, Any]:
    """Half-done work may have begun units of the generation that never became active."""
    current = state.get("current") or generation.NOTHING
    return {
        **old,
        "units": {**current["units"], **old["units"]},
        "enabled": sorted({*current["enabled"], *old["enabled"]}),
    }


def _forget(state: Mapping[str, Any]) -> None:
    generation.unload_modules(state.get("before") or {})
    for name in (remembered.CONFIG, remembered.PREVIOUS_CONFIG, _STAGED):
        _unlink(name)
    programs.remove_empty(remembered.CONFIG_FOLDER, os.path.dirname(remembered.CONFIG_FOLDER))
    programs.remove_all_but([])
    for sha256 in state.get("delivered", []):
        _unlink(programs.stored(sha256))
    store = os.path.dirname(programs.stored("x"))
    programs.remove_empty(store, os.path.dirname(store))
    shutil.rmtree(remembered.folder(), ignore_errors=True)


def _keep(state: Dict[str, Any], payload: Mapping[str, Any]) -> None:
    if payload.get("fencing_token") is not None:
        state["fencing_token"] = payload["fencing_token"]
    state["operation"] = payload.get("operation")
    remembered.write(state)


def _artifacts_of(state: Mapping[str, Any]) -> List[str]:
    kept = [state.get(name) or generation.NOTHING for name in ("current", "previous", "active")]
    return sorted({one for some in kept for one in some["artifacts"]})


def _stage(entry: Entry, host: str, artifacts: Mapping[str, Any], step: Step) -> bool:
    config = _config(entry, host, _interface(entry))
    if config is None:
        return False
    if remembered.text_of(remembered.CONFIG) == config:
        return False
    remembered.write_file(_STAGED, config, 0o600)
    tools = _tools(artifacts)
    done = host_command.run(
        [tools.keepalived, "--config-test", "--log-console", f"--use-file={_STAGED}"],
        programs.environment(tools),
    )
    step.said = done.said.replace(entry.auth_pass, "***") if entry.auth_pass else done.said
    if done.exit_code != 0:
        _unlink(_STAGED)
        programs.remove_empty(remembered.CONFIG_FOLDER, os.path.dirname(remembered.CONFIG_FOLDER))
        step.detail = {"keepalived_exit_code": done.exit_code}
        raise ReleaseError(
            "keepalived_config_invalid",
            f"keepalived refuses the configuration: {step_record.tail(step.said).strip()}",
            "What ran before runs on; correct what keepalived names.",
        )
    return True


def _tools(artifacts: Mapping[str, Any]) -> host_units.Programs:
    return programs.paths(artifacts) if artifacts else host_units.Programs("", "", "", remembered.CONFIG)


def _interface(entry: Entry) -> str:
    found = host_facts.interface_for(entry, host_facts.interfaces())
    if not found and entry.lb_kind == "DR":
        raise ReleaseError(
            "vip_unreachable", f"no interface has an address in {entry.network}", "Preview again."
        )
    return found or ""


def _config(entry: Entry, host: str, interface: str) -> Optional[str]:
    return keepalived_config.render(entry, host, interface) if entry.priority(host) is not None else None


def _masked(config: str, key: bytes) -> str:
    """A configuration to be shown: the password as its HMAC, so that a change of it is seen."""
    lines = []
    for line in config.splitlines(keepends=True):
        head, word, rest = line.partition("auth_pass ")
        if word and not head.strip():
            digest = hmac.new(key, rest.strip().encode(), hashlib.sha256).hexdigest()
            line = f"{head}{word}hmac:{digest[:16]}\n"
        lines.append(line)
    return "".join(lines)


def _parts(
    entry: Entry, host: str, interface: str, facts: Mapping[str, Any], state: Mapping[str, Any],
    before: str, after: str,
) -> Dict[str, str]:  # fmt: skip
    """What an apply is bound to, each as a digest: who holds the VIP just now is not among it."""
    devices = facts["interfaces"].get(interface, [])
    units = {name: remembered.text_of(os.path.join(remembered.UNITS, name)) for name in _unit_names()}
    values: Tuple[Tuple[str, Any], ...] = (
        ("config.wanted", after),
        ("config.present", before),
        ("units", units),
        ("interface", [interface, [one for one in devices if one.split("/")[0] != entry.address]]),
        ("settings.wanted", host_units.sysctls(entry, host)),
        ("keepalived.foreign", bool(facts["foreign_keepalived"])),
        ("modules.missing", facts["modules_missing"]),
    )
    return {name: "sha256:" + hashlib.sha256(repr(value).encode()).hexdigest() for name, value in values}


def _unit_names() -> List[str]:
    return [host_units.ADDRESS_UNIT, host_units.VRRP_UNIT, keepalived_config.BALANCER_UNIT]


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
