# SPDX-License-Identifier: Apache-2.0
"""An object with only what waiting and telling look at: a release of many objects is kept in memory as these."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import kinds

_HEAVY = ("template", "jobTemplate", "volumeClaimTemplates")


def slim(thing: Mapping[str, Any]) -> dict[str, Any]:
    """Without who owns what, without contents, and of pods only names and images."""
    metadata = {name: value for name, value in thing["metadata"].items() if name != "managedFields"}
    found: dict[str, Any] = {"apiVersion": thing["apiVersion"], "kind": thing["kind"], "metadata": metadata}
    if "status" in thing:
        found["status"] = thing["status"]
    spec = thing.get("spec")
    if isinstance(spec, Mapping):
        found["spec"] = {name: value for name, value in spec.items() if name not in _HEAVY}
    pods = kinds.pod_spec(thing)
    if pods is None:
        return found
    shown = [{"name": one.get("name"), "image": one.get("image")} for one in pods.get("containers") or []]
    inner: dict[str, Any] = {"containers": shown}
    if thing["kind"] == "Pod":
        return {**found, "spec": inner}
    template = {"template": {"spec": inner}}
    own = {"jobTemplate": {"spec": template}} if thing["kind"] == "CronJob" else template
    return {**found, "spec": {**found["spec"], **own}}
