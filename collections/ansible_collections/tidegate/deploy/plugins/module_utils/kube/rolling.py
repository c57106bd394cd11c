# SPDX-License-Identifier: Apache-2.0
"""The workloads' own rolling update, with what the release says of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def paced(objects: list[dict[str, Any]], params: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Deployments with the release's surge and unavailability in place of their manifests'."""
    given = {
        field: params.get(name)
        for name, field in (("max_surge", "maxSurge"), ("max_unavailable", "maxUnavailable"))
        if params.get(name) is not None
    }
    if not given:
        return objects
    return [_paced(one, given) if one["kind"] == "Deployment" else one for one in objects]


def _paced(thing: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    spec = thing.get("spec")
    strategy = spec.get("strategy") if isinstance(spec, Mapping) else None
    if not isinstance(spec, Mapping) or (strategy or {}).get("type") == "Recreate":
        return thing
    rolling = {**((strategy or {}).get("rollingUpdate") or {}), **given}
    return {**thing, "spec": {**spec, "strategy": {"type": "RollingUpdate", "rollingUpdate": rolling}}}
