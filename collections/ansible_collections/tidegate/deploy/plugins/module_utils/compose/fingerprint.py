# SPDX-License-Identifier: Apache-2.0
"""The fingerprint of what runs of a project on a host: the same on the controller and on the host itself."""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from typing import Any

from . import health


class Veil:
    """Shows values, and secrets only as an HMAC: `key` is bytes of the installation."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def digest(self, value: Any) -> str:
        """HMAC-SHA-256 of a value's JSON."""
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
        return hmac.new(self._key, text.encode("utf-8", "surrogatepass"), "sha256").hexdigest()

    def mask(self, value: Any) -> str:
        """What is shown in place of a secret."""
        return "hmac:" + self.digest(value)[:16]

    def key_of(self, host: str, project: str) -> bytes:
        """The key of one project on one host. The host may have it: it tells nothing of any other's."""
        return bytes.fromhex(self.digest(["fingerprint", host, project]))


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
