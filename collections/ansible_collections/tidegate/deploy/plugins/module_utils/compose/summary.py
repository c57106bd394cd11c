# SPDX-License-Identifier: Apache-2.0
"""Results as lines for people who run the playbooks by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_WORDS = {"add": "is added", "change": "changes", "remove": "is removed", "none": "stays as it is"}


def of_preview(result: Mapping[str, Any]) -> list[str]:
    """What a release would change; masked values stay masked."""
    lines = []
    for service in result.get("services") or []:
        lines.append(f"{service['name']} {_WORDS[service['action']]}")
        lines += [f"  {one['path']}: {one['before']} -> {one['after']}" for one in service["changes"]]
    for image in result.get("images") or []:
        where = "is on the host" if image["present"] else f"comes from its {image['source']}"
        known = image["digest"] or image["image_id"] or "not pinned"
        lines.append(f"image {image['reference']} {where} ({known})")
    for check in result.get("checks") or []:
        hint = f" {check['hint']}" if check["hint"] else ""
        lines.append(f"{check['level']}: {check['code']}: {check['message']}.{hint}")
    if result.get("risk_facts"):
        lines.append("risks: " + ", ".join(result["risk_facts"]))
    return lines


def of_steps(result: Mapping[str, Any]) -> list[str]:
    """What was done, how long it took, and what runs now."""
    lines = [f"{one['step']}: {one['status']}, {one['duration_ms']} ms" for one in result.get("steps") or []]
    live = result.get("live") or {}
    for service in live.get("services") or []:
        lines.append(
            f"{service['name']}: {service['running']} of {service['replicas']} running,"
            f" health {service['health']}, image {service['image']}"
        )
    if live.get("release_id"):
        lines.append(f"release: {live['release_id']}")
    return lines
