# SPDX-License-Identifier: Apache-2.0
"""A first look at Kubernetes manifests, before they are kept: are they any, and which variables do they use.

The automation side renders them and asks the cluster; this keeps what can never work from being stored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from controlplane.domain.errors import Problem
from controlplane.services import yaml_documents

MOST_BYTES = 5 * 1024 * 1024
MOST_OBJECTS = 2000
BOUNDS = yaml_documents.Bounds(most_bytes=MOST_BYTES, most_nodes=600_000)
_PLACEHOLDER = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_POD_SPECS: Mapping[str, tuple[str, ...]] = {
    "Pod": ("spec",),
    "CronJob": ("spec", "jobTemplate", "spec", "template", "spec"),
    **dict.fromkeys(
        ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job"),
        ("spec", "template", "spec"),
    ),
}
Path = tuple[str | int, ...]


def placeholders(text: str) -> tuple[set[str], dict[str, str]]:
    """Return the variables that manifests use, and those used where people see them with one such place of each.

    Hidden are the data of Secrets and ConfigMaps, and the values of environment variables.

    Raises:
        Problem: `manifest_invalid` (no YAML, a bomb, no object), `validation_error` (a placeholder that is more
            than a name).
    """
    names: set[str] = set()
    shown: dict[str, str] = {}
    for thing in _objects(text):
        for path, value in _texts(thing, ()):
            used = {_checked(name) for name in _PLACEHOLDER.findall(value) if not name.startswith(".")}
            names |= used
            if used and not _is_hidden(thing["kind"], path):
                place = f"{thing['kind']} {'.'.join(str(part) for part in path)}"
                shown |= dict.fromkeys(used, place)
    return names, shown


def _objects(text: str) -> Iterator[Mapping[str, Any]]:
    count = 0
    try:
        for number, document in enumerate(yaml_documents.read(text, BOUNDS), start=1):
            if document is None:
                continue
            for thing in _unpacked(document, f"document {number}"):
                count += 1
                if count > MOST_OBJECTS:
                    raise Problem("manifest_invalid", f"there are more than {MOST_OBJECTS} objects")
                yield thing
    except yaml_documents.NotTaken as error:
        raise Problem("manifest_invalid", f"the manifests cannot be used: {error}") from None
    if not count:
        raise Problem("manifest_invalid", "there is no object in the manifests")


def _unpacked(document: Any, where: str) -> Iterator[Mapping[str, Any]]:
    if not isinstance(document, dict):
        raise Problem("manifest_invalid", f"{where} is not a mapping")
    if document.get("kind") == "List" and document.get("apiVersion") == "v1":
        items = document.get("items")
        if not isinstance(items, list):
            raise Problem("manifest_invalid", f"{where} is a List without items")
        for index, item in enumerate(items, start=1):
            yield from _unpacked(item, f"{where} item {index}")
        return
    metadata = document.get("metadata")
    required = {
        "apiVersion": document.get("apiVersion"),
        "kind": document.get("kind"),
        "metadata.name": metadata.get("name") if isinstance(metadata, dict) else None,
    }
    for name, value in required.items():
        if not isinstance(value, str) or not value:
            raise Problem("manifest_invalid", f"{where} has no {name}")
    yield document


def _texts(node: Any, path: Path) -> Iterator[tuple[Path, str]]:
    """Yield every text with the path to it. Depth is bounded by what was read."""
    if isinstance(node, str):
        if "{{" in node:
            yield path, node
    elif isinstance(node, dict):
        for key, value in node.items():
            if _NAME.fullmatch(next(iter(_PLACEHOLDER.findall(key)), "")):
                raise Problem(
                    "validation_error", errors={"template": [f"a variable cannot be a key: {key[:80]}"]}
                )
            yield from _texts(value, (*path, key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _texts(value, (*path, index))


def _is_hidden(kind: str, path: Path) -> bool:
    if len(path) == 2 and kind in ("Secret", "ConfigMap"):
        return path[0] in ("data", "stringData", "binaryData")
    base = _POD_SPECS.get(kind)
    if base is None or path[: len(base)] != base:
        return False
    inner = path[len(base) :]
    is_value = len(inner) == 5 and inner[2::2] == ("env", "value")
    return is_value and inner[0] in ("containers", "initContainers")


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        said = f"{{{{ {name[:80]} }}}} is not a variable's name; there are no expressions"
        raise Problem("validation_error", errors={"template": [said]})
    return name
