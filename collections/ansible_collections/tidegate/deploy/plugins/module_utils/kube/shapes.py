# SPDX-License-Identifier: Apache-2.0
"""Whether what everything here looks into is made as Kubernetes makes it: mappings and lists where they belong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import documents, kinds


def require(thing: Mapping[str, Any]) -> None:
    """Raises ReleaseError manifest_invalid for an object that no server would take either."""
    title = f"{thing['kind']}/{thing['metadata']['name']}"
    for name in ("labels", "annotations"):
        _mapping(thing["metadata"].get(name), f"metadata.{name}", title)
    if thing["kind"] in ("Secret", "ConfigMap"):
        for name in ("data", "stringData", "binaryData"):
            _mapping(thing.get(name), name, title)
        return
    spec = _mapping(thing.get("spec"), "spec", title)
    if thing["kind"] == "Service":
        _mapping(spec.get("selector"), "spec.selector", title)
    if thing["kind"] == "Deployment":
        strategy = _mapping(spec.get("strategy"), "spec.strategy", title)
        _mapping(strategy.get("rollingUpdate"), "spec.strategy.rollingUpdate", title)
        selector = _mapping(spec.get("selector"), "spec.selector", title)
        _mapping(selector.get("matchLabels"), "spec.selector.matchLabels", title)
    for name in ("replicas", "parallelism", "completions"):
        count = spec.get(name)
        if thing["kind"] in kinds.WORKLOADS and count is not None and (type(count) is not int or count < 0):
            raise documents.invalid(f"spec.{name} of {title} is no number of pods")
    _pods(thing, title)


def _pods(thing: Mapping[str, Any], title: str) -> None:
    path = kinds.pod_spec_path(thing["kind"])
    node: Any = thing
    for part in path or ():
        node = _mapping(node.get(part), part, title)
        if part == "template":
            metadata = _mapping(node.get("metadata"), "template.metadata", title)
            _mapping(metadata.get("labels"), "template.metadata.labels", title)
    if not path:
        return
    for field in ("containers", "initContainers", "imagePullSecrets", "volumes"):
        items = node.get(field)
        if items is not None and not (
            isinstance(items, list) and all(isinstance(one, Mapping) for one in items)
        ):
            raise documents.invalid(f"{field} of {title} is no list of mappings")
    for one in kinds.containers(node):
        where = f"container {one.get('name')}"
        context = _mapping(one.get("securityContext"), f"{where} securityContext", title)
        _mapping(context.get("capabilities"), f"{where} capabilities", title)
        resources = _mapping(one.get("resources"), f"{where} resources", title)
        for name in ("requests", "limits"):
            _mapping(resources.get(name), f"{where} {name}", title)


def _mapping(value: Any, where: str, title: str) -> Mapping[str, Any]:
    if value is not None and not isinstance(value, Mapping):
        raise documents.invalid(f"{where} of {title} is not a mapping")
    return value or {}
