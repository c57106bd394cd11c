# SPDX-License-Identifier: Apache-2.0
"""A Compose template and variables become one project, as data.

The template is parsed as YAML first and placeholders are replaced inside scalars afterwards, so a value can
never add structure. Scalars follow YAML 1.2, as they do for Compose: `no` is a word and `22:22` is no number.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

try:
    import yaml
except ImportError:  # hosts have none, and render nothing
    yaml = None  # type: ignore[assignment]

from ..release import variables as typed
from ..release import yaml_nodes
from ..release.errors import ReleaseError
from ..release.variables import PLACEHOLDER as _PLACEHOLDER
from ..release.variables import checked as _check
from ..release.variables import names as _names
from ..release.variables import text as _text

MOST_BYTES = 1024 * 1024
MOST_NODES = 50_000
MOST_DEPTH = 60
SECRETS_KEY = "x-tidegate"


class _Loader(yaml.SafeLoader if yaml else object):  # type: ignore[misc]
    """YAML 1.2 core scalars, no duplicate keys, bare `{{ name }}` understood."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _value in node.value:
            name = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else None
            if name in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value} is there twice", key.start_mark
                )
            seen.add(name)
        return super().construct_mapping(node, deep)


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))
_Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(loader.construct_scalar(node)))


def render(
    template: str, variables: Mapping[str, Any], schema: Mapping[str, Mapping[str, Any]] | None = None
) -> str:
    """The project with its variables filled in, as JSON text (which is YAML), the same for the same input.

    Paths of values that a secret is part of, and the secrets, are listed in the document itself, under `x-tidegate`.
    Raises ReleaseError: compose_invalid for the template, validation_error for the variables.
    """
    document = parse(template)
    schema = schema or {}
    values = _check(variables, schema)
    secrets = {name for name, rule in schema.items() if rule.get("secret")}
    secret_paths: list[list[str | int]] = []
    secret_texts: set[str] = set()

    def fill(node: Any, path: tuple[str | int, ...]) -> Any:
        if isinstance(node, dict):
            for key in node:
                if isinstance(key, str) and _PLACEHOLDER.search(key):
                    raise ReleaseError("validation_error", f"a variable cannot be a key: {key}")
            return {key: fill(value, (*path, key)) for key, value in node.items()}
        if isinstance(node, list):
            return [fill(value, (*path, index)) for index, value in enumerate(node)]
        if not isinstance(node, str):
            return node
        used = _names(node, values)
        if used & secrets:
            _require_hidden(path, node, sorted(used & secrets))
            secret_paths.append(list(path))
            secret_texts.update(_text(values[name]).replace("$", "$$") for name in used & secrets)
        return _fill_scalar(node, values)

    filled = fill(document, ())
    if secret_paths:
        filled[SECRETS_KEY] = {"secrets": secret_paths, "texts": sorted(secret_texts)}
    return json.dumps(filled, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def parse(text: str) -> dict[str, Any]:
    """The document of a Compose template; raises ReleaseError compose_invalid."""
    if len(text.encode("utf-8", "surrogatepass")) > MOST_BYTES:
        raise _invalid(f"it is larger than {MOST_BYTES} bytes")
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            _bound(node)
            document = loader.construct_document(node) if node is not None else None
        finally:
            loader.dispose()
    except (yaml.YAMLError, RecursionError, ValueError, TypeError) as error:
        raise _invalid(f"it is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise _invalid("it is not a mapping")
    services = document.get("services")
    if not isinstance(services, dict) or not services:
        raise _invalid("it has no services")
    if not all(isinstance(one, dict) for one in services.values()):
        raise _invalid("a service is not a mapping")
    if SECRETS_KEY in document:
        raise _invalid(f"{SECRETS_KEY} is Tidegate's own")
    document.pop("version", None)
    document.pop("name", None)
    return document


def secret_paths(document: Mapping[str, Any]) -> list[tuple[str | int, ...]]:
    """Where secrets are in a rendered project."""
    return [tuple(path) for path in (document.get(SECRETS_KEY) or {}).get("secrets", [])]


def secret_texts(document: Mapping[str, Any]) -> list[str]:
    """The secrets of a rendered project, each by itself. Releases of earlier versions were stored without them."""
    return [str(text) for text in (document.get(SECRETS_KEY) or {}).get("texts", [])]


def _bound(root: yaml.Node | None) -> None:
    """Count the nodes as they are when aliases are followed; too many is a bomb. Understands bare placeholders."""
    count = 0
    pending = [(root, 0)] if root is not None else []
    while pending:
        node, depth = pending.pop()
        count += 1
        if count > MOST_NODES or depth > MOST_DEPTH:
            raise _invalid(
                f"with its aliases followed it has more than {MOST_NODES} nodes or {MOST_DEPTH} levels"
            )
        if isinstance(node, yaml.SequenceNode):
            node.value = [yaml_nodes.bare(one) for one in node.value]
            pending += [(one, depth + 1) for one in node.value]
        elif isinstance(node, yaml.MappingNode):
            node.value = [(key, yaml_nodes.bare(value)) for key, value in node.value]
            pending += [(one, depth + 1) for pair in node.value for one in pair]


def _fill_scalar(text: str, values: Mapping[str, Any]) -> Any:
    return typed.filled(text, values, lambda value: value.replace("$", "$$"))


def _require_hidden(path: tuple[str | int, ...], text: str, secrets: list[str]) -> None:
    environment = len(path) == 4 and path[0] == "services" and path[2] == "environment"
    if environment and isinstance(path[3], int):
        # Of `NAME=value` the name is shown.
        environment = not {found[1] for found in _PLACEHOLDER.finditer(text.partition("=")[0])} & set(secrets)
    content = len(path) == 3 and path[0] in ("secrets", "configs") and path[2] == "content"
    if not (environment or content):
        where = ".".join(str(part) for part in path)
        raise ReleaseError(
            "validation_error",
            f"secret in shown place: {secrets[0]} is used in {where}",
            "Use secrets in environment values, or in the content of secrets and configs.",
            field=secrets[0],
        )


def _invalid(why: str) -> ReleaseError:
    return ReleaseError(
        "compose_invalid", f"the Compose template cannot be used: {why}", "Correct the template."
    )
