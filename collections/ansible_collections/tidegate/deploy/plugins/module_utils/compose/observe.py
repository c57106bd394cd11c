# SPDX-License-Identifier: Apache-2.0
"""All that a preview must know of a host, read in one go. Nothing is changed."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Mapping
from typing import Any

from ..host import colours, state_folder
from ..release.errors import ReleaseError
from . import colour, engine, image_source, operation

LOW_DISK_BYTES = 500 * 1024 * 1024


def observe(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Facts for `preview.conclude`. `payload`: project, rendered, images {reference: archive's image id or None},
    registries, resolved, and moves_entry when it is known whether the strategy does. Checks in the answer have level,
    code, message, hint."""
    project = payload["project"]
    facts: dict[str, Any] = {"checks": [], "containers": [], "config": None, "images": {}, "release": {}}
    operation.folder(project)
    try:
        live = colours.live_project(state_folder.path("entries"), project)
        facts["containers"] = engine.inspect_project(live)
    except ReleaseError as error:
        facts["checks"].append(_check("blocking", error.error_key, str(error), error.hint))
        return facts
    facts["release"] = operation.read_release(live)
    facts["applied"] = applied(live)
    for reference in payload.get("images", {}):
        facts["images"][reference] = _image(reference, payload, facts["checks"])
    if payload.get("rendered"):
        facts["config"] = _config(project, payload["rendered"], facts["checks"])
        _disk(facts["checks"])
        _entry(project, payload, facts["checks"])
        _ports(facts["config"] or {}, _of_all_colours(project, live, facts["containers"]), facts["checks"])
    return facts


def _entry(project: str, payload: Mapping[str, Any], checks: list[dict[str, str]]) -> None:
    try:
        if payload.get("moves_entry") is False:
            colours.require_no_entry(state_folder.path("entries"), project)
    except ReleaseError as error:
        checks.append(_check("blocking", error.error_key, str(error), error.hint))


def _of_all_colours(project: str, live: str, containers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What runs of a project, also what was kept beside the colour that has the traffic."""
    names = {colours.project_name(project, one) for one in (colours.PLAIN, *colours.COLOURS)} - {live}
    return [*containers, *(one for name in sorted(names) for one in engine.inspect_project(name))]


def _config(project: str, rendered: str, checks: list[dict[str, str]]) -> dict[str, Any] | None:
    done = engine.docker(["compose", "-p", project, "-f", "-", "config", "--format", "json"], stdin=rendered)
    said = " ".join(done.stderr.split())[-1000:]
    if done.exit_code and engine.docker(["compose", "version", "--short"]).exit_code:
        hint = "Install docker compose."
        checks.append(_check("blocking", "preflight_failed", "there is no Compose 2 on the host", hint))
        return None
    if done.exit_code:
        checks.append(
            _check("blocking", "compose_invalid", f"Compose refuses the project: {said}", "Correct it.")
        )
        return None
    if said:
        checks.append(_check("warning", "compose_warning", said, ""))
    return dict(json.loads(done.stdout))


def _image(reference: str, payload: Mapping[str, Any], checks: list[dict[str, str]]) -> dict[str, Any]:
    resolved = (payload.get("resolved") or {}).get(reference) or {}
    try:
        return image_source.find(
            reference, payload["images"][reference], resolved, payload.get("registries") or []
        )
    except ReleaseError as error:
        checks.append(_check("blocking", error.error_key, str(error), error.hint))
        known = {name: resolved.get(name) for name in ("digest", "image_id")}
        return {**known, "source": "registry", "present": False}


def applied(project: str) -> dict[str, Any]:
    """The project as it was written last; empty when there was none."""
    try:
        return colour.without_colour(
            dict(json.loads((operation.folder(project) / "compose.yaml").read_text()))
        )
    except (OSError, ValueError):
        return {}


def _disk(checks: list[dict[str, str]]) -> None:
    for path in ("/var/lib/docker", state_folder.path("projects")):
        while not os.path.exists(path):
            path = os.path.dirname(path)
        try:
            free = shutil.disk_usage(path).free
        except OSError:
            continue
        if free < LOW_DISK_BYTES:
            level = "blocking" if free < LOW_DISK_BYTES // 50 else "warning"
            checks.append(
                _check(
                    level, "preflight_failed", f"{path} has {free // 1048576} MiB free", "Free disk space."
                )
            )


def _ports(config: Mapping[str, Any], containers: list[dict[str, Any]], checks: list[dict[str, str]]) -> None:
    own = {
        binding["HostPort"]
        for one in containers
        for bindings in ((one.get("HostConfig") or {}).get("PortBindings") or {}).values()
        for binding in bindings or []
    }
    for name, definition in (config.get("services") or {}).items():
        for port in definition.get("ports") or []:
            published = str(port.get("published") or "")
            if port.get("protocol", "tcp") != "tcp" or not published.isdigit() or published in own:
                continue
            if _is_taken(port.get("host_ip") or "", int(published)):
                message = f"port {published} of service {name} is in use by something else"
                checks.append(
                    _check("blocking", "preflight_failed", message, "Stop what uses it, or publish another.")
                )


def _is_taken(address: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except PermissionError:
            return False
        except OSError:
            return True
    return False


def _check(level: str, code: str, message: str, hint: str) -> dict[str, str]:
    return {"level": level, "code": code, "message": message, "hint": hint}
