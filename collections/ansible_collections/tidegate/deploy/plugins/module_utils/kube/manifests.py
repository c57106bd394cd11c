# SPDX-License-Identifier: Apache-2.0
"""Manifests and variables become the objects of a release, and a value never becomes structure.

The text of a rendered release is canonical JSON: `{"objects": [...], "secrets": [[index, key, ...], ...], "texts":
[...]}`, where `secrets` are the paths of the values that a secret variable is part of, and `texts` what those variables
are: a program may tell its password without what is around it. Without secrets there are no `texts`.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..release import variables as typed
from ..release.errors import ReleaseError
from . import documents, kinds, shapes

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Manifests:
    """A release's objects in the order they were written, where secret variables are in them, and what these are."""

    objects: list[dict[str, Any]]
    secrets: list[Path]
    texts: list[str] = field(default_factory=list)

    def text(self) -> str:
        """The same text for the same objects."""
        document: dict[str, Any] = {"objects": self.objects, "secrets": [list(path) for path in self.secrets]}
        if self.texts:
            document["texts"] = self.texts
        return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def render(
    text: str,
    variables: Mapping[str, Any],
    schema: Mapping[str, Mapping[str, Any]] | None = None,
    is_generated: bool = False,
) -> Manifests:
    """The objects with their variables filled in.

    `is_generated` says that a kustomization was built to this: what its Secrets hold in base64 may be a generator's
    text, with variables in it.

    Raises ReleaseError: manifest_invalid for the manifests, validation_error for the variables and where they are.
    """
    schema = schema or {}
    values = typed.checked(variables, schema)
    hidden = {name for name, rule in schema.items() if rule.get("secret")}
    secrets: list[Path] = []
    texts: set[str] = set()
    objects = documents.read(text)
    for index, thing in enumerate(objects):

        def note(path: Path, used: set[str], thing: dict[str, Any] = thing, index: int = index) -> None:
            if used & hidden:
                _require_hidden(thing, path, sorted(used & hidden)[0])
                secrets.append((index, *path))
                texts.update(typed.text(values[name]) for name in used & hidden)

        if is_generated and thing["kind"] == "Secret":
            thing = _encoded_filled(thing, values, note)
        objects[index] = _filled(thing, values, (), note)
    for thing in objects:
        _require_names(thing)
        shapes.require(thing)
    return Manifests(objects, secrets, sorted(texts))


def stored(text: str) -> Manifests:
    """What `Manifests.text` made; raises ReleaseError manifest_invalid."""
    try:
        document = json.loads(text)
        objects, secrets = document["objects"], [tuple(path) for path in document["secrets"]]
        texts = [str(one) for one in document.get("texts", [])]
    except (ValueError, KeyError, TypeError) as error:
        raise documents.invalid("the stored release cannot be read") from error
    return Manifests(objects, secrets, texts)


def decoded(value: Any) -> str | None:
    """The text that a Secret's base64 stands for, which may be in lines; None when it stands for none."""
    try:
        return base64.b64decode("".join(str(value).split()), validate=True).decode()
    except (binascii.Error, ValueError):
        return None


def value_at(node: Any, path: Sequence[str | int]) -> Any:
    """What is at a path."""
    for part in path:
        node = node[part]
    return node


def _filled(node: Any, values: Mapping[str, Any], path: Path, note: Any) -> Any:
    if isinstance(node, dict):
        for key in node:
            if typed.PLACEHOLDER.search(key) and typed.names(key, values):
                raise ReleaseError("validation_error", f"a variable cannot be a key: {key[:200]}")
        return {key: _filled(value, values, (*path, key), note) for key, value in node.items()}
    if isinstance(node, list):
        return [_filled(value, values, (*path, index), note) for index, value in enumerate(node)]
    if not isinstance(node, str) or "{{" not in node:
        return node
    note(path, typed.names(node, values))
    return typed.filled(node, values)


def _encoded_filled(thing: dict[str, Any], values: Mapping[str, Any], note: Any) -> dict[str, Any]:
    """A Secret with the variables filled in that are inside of its base64. Values come in later: none is read again."""
    data = thing.get("data")
    if not isinstance(data, dict):
        return thing
    filled = dict(data)
    for key, value in data.items():
        text = decoded(value)
        if text is not None and "{{" in text:
            note(("data", key), typed.names(text, values))
            whole = typed.text(typed.filled(text, values))
            filled[key] = base64.b64encode(whole.encode("utf-8", "surrogatepass")).decode()
    return {**thing, "data": filled}


def _require_hidden(thing: Mapping[str, Any], path: Path, name: str) -> None:
    """A secret may be where people do not look: in a Secret or ConfigMap, or in a container's environment."""
    if (
        len(path) == 2
        and thing["kind"] in ("Secret", "ConfigMap")
        and path[0] in ("data", "stringData", "binaryData")
    ):
        return
    base = kinds.pod_spec_path(thing["kind"])
    if base and path[: len(base)] == base:
        inner = path[len(base) :]
        if (
            len(inner) == 5
            and inner[0] in ("containers", "initContainers")
            and inner[2::2] == ("env", "value")
        ):
            return
    where = ".".join(str(part) for part in path)
    raise ReleaseError(
        "validation_error", f"secret in shown place: {name} is used in {where} of a {thing['kind']}",
        "Use secrets in a Secret, a ConfigMap, or the value of an environment variable.", field=name,
    )  # fmt: skip


def _require_names(thing: Mapping[str, Any]) -> None:
    for where in (thing["apiVersion"], thing["kind"], thing["metadata"]["name"]):
        if not isinstance(where, str) or not where or "/" in thing["kind"]:
            raise documents.invalid("apiVersion, kind and name are words")
    for part in (*thing["apiVersion"].split("/"), thing["kind"], thing["metadata"]["name"]):
        # They become parts of addresses.
        if part in (".", "..") or not part or set(part) & set("/%?#\\ \t\r\n\x00") or len(part) > 253:
            raise documents.invalid(f"{part[:100]!r} cannot be part of a name")
