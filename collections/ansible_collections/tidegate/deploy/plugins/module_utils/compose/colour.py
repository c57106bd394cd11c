# SPDX-License-Identifier: Apache-2.0
"""A release in a colour: the same project a second time beside the first, its entry on a port of its own.

Pure: text in, text out. Which colour a release takes is decided on the host (`host/colours.py`).
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

try:
    import yaml
except ImportError:  # hosts have none, and render nothing
    yaml = None  # type: ignore[assignment]


# What the colour's file says of the ports that the project has without a colour, for whoever compares.
MOVED_KEY = "x-tidegate-entry"


class ColourError(ValueError):
    """A project that cannot stand twice on one host: error key validation_error."""


def content_digest(rendered: str, resolved_images: dict[str, Any]) -> str:
    """What a colour runs, as one digest: the same release content gives the same, whatever its id."""
    images = {
        service: [image.get("reference"), image.get("digest"), image.get("image_id")]
        for service, image in (resolved_images or {}).items()
    }
    whole = json.dumps([rendered, images], sort_keys=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(whole.encode()).hexdigest()


def render(rendered: str, service: str, service_port: int, published: int) -> str:
    """The Compose text of a colour: `service` answers on the host's port `published`, nothing else moves.

    Raises ColourError for what two colours cannot both have: a container name, another published port, a
    network or volume with a name of its own, a volume of the project (two colours would write to it at once).
    """
    document = yaml.safe_load(rendered)
    services = (document or {}).get("services") or {}
    if service not in services:
        raise ColourError(f"the strategy's service {service} is not in the Compose file")
    document.pop("name", None)
    for name, definition in services.items():
        _require_repeatable(name, definition or {}, service, service_port)
    for kind in ("networks", "volumes"):
        _require_unnamed(kind, document.get(kind) or {})
    _require_no_own_volumes(services, document.get("volumes") or {})
    entry = services[service]
    document[MOVED_KEY] = {"service": service, "ports": entry.get("ports")}
    kept = [
        port
        for port in entry.get("ports") or []
        if _published(port) is None and _target(port) != service_port
    ]
    entry["ports"] = [*kept, {"target": service_port, "published": str(published), "protocol": "tcp"}]
    return json.dumps(document, indent=2, sort_keys=True, default=str) + "\n"


def without_colour(document: dict[str, Any]) -> dict[str, Any]:
    """A colour's document as the project has it without a colour; another document as it is."""
    moved = document.get(MOVED_KEY)
    if not moved:
        return document
    services = dict(document["services"])
    definition = {key: value for key, value in services[moved["service"]].items() if key != "ports"}
    services[moved["service"]] = definition | ({"ports": moved["ports"]} if moved["ports"] else {})
    return {key: value for key, value in document.items() if key != MOVED_KEY} | {"services": services}


def _require_repeatable(name: str, definition: dict[str, Any], entry: str, entry_port: int) -> None:
    if definition.get("container_name"):
        raise ColourError(f"service {name} has a container_name: two colours cannot have the same")
    if definition.get("network_mode") == "host":
        raise ColourError(f"service {name} is on the host's network: two colours would take the same ports")
    for port in definition.get("ports") or []:
        is_entry = name == entry and _target(port) == entry_port
        if _published(port) is not None and not is_entry:
            raise ColourError(
                f"service {name} publishes port {_published(port)}: two colours cannot both have it;"
                f" only {entry}:{entry_port} is moved by the entry"
            )


def _require_unnamed(kind: str, definitions: dict[str, Any]) -> None:
    for name, definition in definitions.items():
        if (definition or {}).get("name") and not (definition or {}).get("external"):
            raise ColourError(
                f"{kind[:-1]} {name} has a name of its own: two colours share it only when it is external"
            )


def _require_no_own_volumes(services: dict[str, Any], volumes: dict[str, Any]) -> None:
    for name, definition in services.items():
        for mount in (definition or {}).get("volumes") or []:
            source = mount.get("source") if isinstance(mount, dict) else mount.split(":")[0]
            if source in volumes and not (volumes[source] or {}).get("external"):
                raise ColourError(
                    f"service {name} keeps data in volume {source}: each colour would have its own;"
                    " make the volume external, or release with the rolling strategy"
                )


def _target(port: Any) -> int | None:
    """The container's port of an entry of `ports`, long or short; None for a range."""
    text = port.get("target") if isinstance(port, dict) else str(port).partition("/")[0].rpartition(":")[2]
    return int(text) if str(text).isdigit() else None


def _published(port: Any) -> str | None:
    """The host's port of an entry of `ports`, long or short; None when the engine chooses one."""
    if isinstance(port, dict):
        return str(port["published"]) if port.get("published") not in (None, "", "0", 0) else None
    before = str(port).partition("/")[0].rpartition(":")[0]
    return before.rpartition(":")[2] or None
