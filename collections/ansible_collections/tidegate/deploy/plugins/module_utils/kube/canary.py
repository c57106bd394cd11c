# SPDX-License-Identifier: Apache-2.0
"""A canary: a few pods of the new release beside those of the old, behind the same Service. Pure.

The Deployment that runs is left as it is until the canary is promoted, so to go back is to delete the canary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..release.errors import ReleaseError
from . import colours

LABEL = "dev.tidegate.track"


def name(workload: str) -> str:
    """What the canary's Deployment is called."""
    return f"{workload}-canary"


def replicas(running: int, percent: int) -> int:
    """How many pods make up this share of all, when `running` others stay: at least one."""
    return max(1, -(-running * percent // (100 - percent)))


def deployment(wanted: Mapping[str, Any], running: int, percent: int) -> dict[str, Any]:
    """The canary's Deployment: the release's own, smaller, with selector and pods of its own."""
    spec = dict(wanted["spec"])
    template = dict(spec.get("template") or {})
    metadata = dict(template.get("metadata") or {})
    metadata["labels"] = {**(metadata.get("labels") or {}), LABEL: "canary"}
    selector = dict(spec.get("selector") or {})
    selector["matchLabels"] = {**(selector.get("matchLabels") or {}), LABEL: "canary"}
    spec |= {
        "replicas": replicas(running, percent), "selector": selector, "template": {**template, "metadata": metadata},
    }  # fmt: skip
    own = dict(wanted["metadata"])
    own |= {"name": name(own["name"]), "labels": {**(own.get("labels") or {}), LABEL: "canary"}}
    return {**wanted, "metadata": own, "spec": spec}


def require_fit(objects: Sequence[Mapping[str, Any]], workload: str) -> None:
    """The release must have the Deployment, and nothing by the canary's name; raises ReleaseError validation_error."""
    colours.workload(objects, workload)
    if any(one["kind"] == "Deployment" and one["metadata"]["name"] == name(workload) for one in objects):
        raise ReleaseError("validation_error", f"{name(workload)} is the canary's own name", field="workload")
