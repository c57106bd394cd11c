# SPDX-License-Identifier: Apache-2.0
"""Blue and green: a second Deployment beside the first, and a Service that selects one. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..release.errors import ReleaseError
from . import kinds

LABEL = "dev.tidegate.colour"
COLOURS = ("blue", "green")


def live_colour(service: Mapping[str, Any] | None) -> str | None:
    """The colour that a live Service sends its traffic to; None when it knows of none."""
    colour = ((service or {}).get("spec") or {}).get("selector", {}) or {}
    return colour.get(LABEL) if colour.get(LABEL) in COLOURS else None


def other(colour: str | None) -> str:
    """The colour that the next release takes."""
    return "green" if colour == "blue" else "blue"


def workload(objects: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any]:
    """The release's Deployment of this name; raises ReleaseError validation_error."""
    return _one(objects, "Deployment", "apps", name, "workload")


def service(objects: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any]:
    """The release's Service of this name, with a selector; raises ReleaseError validation_error."""
    found = _one(objects, "Service", "", name, "service")
    if not (found.get("spec") or {}).get("selector"):
        raise ReleaseError(
            "validation_error", f"Service/{name} has no selector to be switched", field="service"
        )
    return found


def coloured_name(name: str, colour: str) -> str:
    """What the Deployment of a colour is called."""
    return f"{name}-{colour}"


def require_fit(objects: Sequence[Mapping[str, Any]], deployment: str, front: str) -> None:
    """The Service must send its traffic to that Deployment's pods; raises ReleaseError validation_error."""
    labels = (_template(workload(objects, deployment)).get("metadata") or {}).get("labels") or {}
    selector = service(objects, front)["spec"]["selector"]
    if any(labels.get(key) != value for key, value in selector.items()):
        raise ReleaseError(
            "validation_error",
            f"Service/{front} does not select the pods of Deployment/{deployment}",
            field="service",
        )
    for thing in objects:
        one = kinds.ref(thing)
        if one.kind == "Deployment" and one.name in {coloured_name(deployment, each) for each in COLOURS}:
            raise ReleaseError("validation_error", f"{one.name} is a colour's own name", field="workload")


def coloured(
    objects: Sequence[dict[str, Any]], deployment: str, front: str, colour: str
) -> list[dict[str, Any]]:
    """The release's objects with the Deployment in this colour, and the Service sending traffic to it."""
    found = []
    for thing in objects:
        one = kinds.ref(thing)
        if (one.kind, one.group, one.name) == ("Deployment", "apps", deployment):
            found.append(_deployment(thing, colour))
        elif (one.kind, one.group, one.name) == ("Service", "", front):
            selector = {**thing["spec"]["selector"], LABEL: colour}
            found.append({**thing, "spec": {**thing["spec"], "selector": selector}})
        else:
            found.append(_aimed(thing, deployment, coloured_name(deployment, colour)))
    return found


def _deployment(thing: dict[str, Any], colour: str) -> dict[str, Any]:
    spec = thing["spec"]
    template = _template(thing)
    selector = spec.get("selector") or {}
    metadata = template.get("metadata") or {}
    labels = {**(metadata.get("labels") or {}), LABEL: colour}
    return {
        **thing,
        "metadata": {
            **thing["metadata"],
            "name": coloured_name(thing["metadata"]["name"], colour),
            "labels": {**(thing["metadata"].get("labels") or {}), LABEL: colour},
        },
        "spec": {
            **spec,
            "selector": {**selector, "matchLabels": {**(selector.get("matchLabels") or {}), LABEL: colour}},
            "template": {**template, "metadata": {**metadata, "labels": labels}},
        },
    }  # fmt: skip


def _aimed(thing: dict[str, Any], deployment: str, name: str) -> dict[str, Any]:
    """An autoscaler follows the Deployment to its colour."""
    spec = thing.get("spec")
    target = spec.get("scaleTargetRef") if isinstance(spec, Mapping) else None
    if not isinstance(target, Mapping) or (target.get("kind"), target.get("name")) != (
        "Deployment",
        deployment,
    ):
        return thing
    return {**thing, "spec": {**thing["spec"], "scaleTargetRef": {**target, "name": name}}}


def _template(thing: Mapping[str, Any]) -> dict[str, Any]:
    template = (thing.get("spec") or {}).get("template")
    return template if isinstance(template, dict) else {}


def _one(
    objects: Sequence[Mapping[str, Any]], kind: str, group: str, name: str, field: str
) -> dict[str, Any]:
    for thing in objects:
        one = kinds.ref(thing)
        if (one.kind, one.group, one.name) == (kind, group, name):
            if not isinstance(thing.get("spec"), Mapping):
                raise ReleaseError("manifest_invalid", f"{kind}/{name} has no spec")
            return dict(thing)
    raise ReleaseError("validation_error", f"the release has no {kind} {name}", field=field)
