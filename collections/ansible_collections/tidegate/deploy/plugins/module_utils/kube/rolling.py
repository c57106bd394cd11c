# SPDX-License-Identifier: Apache-2.0
"""The workloads' own rolling update, with what the release says of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import kinds


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


def unpaced(objects: list[dict[str, Any]], params: Mapping[str, Any]) -> list[kinds.Ref]:
    """What rolls at a pace of its own, whatever the release says of surge and unavailability."""
    if params.get("max_surge") is None and params.get("max_unavailable") is None:
        return []
    return [
        kinds.ref(one)
        for one in objects
        if one["kind"] in ("StatefulSet", "DaemonSet") or (one["kind"] == "Deployment" and _is_made_anew(one))
    ]


def _is_made_anew(thing: Mapping[str, Any]) -> bool:
    spec = thing.get("spec")
    strategy = spec.get("strategy") if isinstance(spec, Mapping) else None
    return isinstance(strategy, Mapping) and strategy.get("type") == "Recreate"


def _paced(thing: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    spec = thing.get("spec")
    strategy = spec.get("strategy") if isinstance(spec, Mapping) else None
    if not isinstance(spec, Mapping) or _is_made_anew(thing):
        return thing
    rolling = {**((strategy or {}).get("rollingUpdate") or {}), **given}
    return {**thing, "spec": {**spec, "strategy": {"type": "RollingUpdate", "rollingUpdate": rolling}}}
