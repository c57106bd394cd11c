# SPDX-License-Identifier: Apache-2.0
"""The fingerprint of what runs of a project on a host: the same on the controller and on the host itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..release.veil import Veil
from . import health


def live_parts(facts: Mapping[str, Any], veil: Veil) -> dict[str, str]:
    """The fingerprint's parts: what was asked for and is there, not what breathes."""
    parts = {}
    for name, containers in sorted(by_service(facts.get("containers") or []).items()):
        one = [_settings(each) for each in containers]
        parts[f"{name}.image"] = "sha256:" + veil.digest(sorted(each["Image"] for each in containers))
        parts[f"{name}.settings"] = "sha256:" + veil.digest(
            sorted(json.dumps(each, sort_keys=True) for each in one)
        )
        parts[f"{name}.scale"] = "sha256:" + veil.digest(len(containers))
    for name, definition in sorted((facts.get("applied", {}).get("services") or {}).items()):
        parts[f"{name}.asked"] = "sha256:" + veil.digest(definition)
    return parts


def fingerprint(parts: Mapping[str, str], veil: Veil) -> str:
    """One digest over all parts."""
    return "sha256:" + veil.digest(dict(parts))


def by_service(containers: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The containers of each service."""
    grouped: dict[str, list[dict[str, Any]]] = {}
    for one in containers:
        grouped.setdefault(health.service_of(one), []).append(one)
    return grouped


def _settings(container: Mapping[str, Any]) -> dict[str, Any]:
    config, host = container["Config"], container.get("HostConfig") or {}
    return {
        "env": sorted(config.get("Env") or []), "cmd": config.get("Cmd"), "entrypoint": config.get("Entrypoint"),
        "user": config.get("User"), "labels": config.get("Labels"), "ports": host.get("PortBindings"),
        "binds": sorted(host.get("Binds") or []), "restart": host.get("RestartPolicy"),
        "privileged": host.get("Privileged"), "memory": host.get("Memory"),
    }  # fmt: skip
