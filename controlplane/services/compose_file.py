# SPDX-License-Identifier: Apache-2.0
"""A first look at a Compose template, before it is kept: is it one, and which variables does it use.

The automation side renders it and asks Compose itself; this keeps what can never work from being stored.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from controlplane.domain.errors import Problem

MOST_BYTES = 1024 * 1024
MOST_NODES = 50_000
MOST_DEPTH = 60
_PLACEHOLDER = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def placeholders(text: str) -> set[str]:
    """Return the variables that a template uses.

    Raises:
        Problem: `compose_invalid` (no YAML, a bomb, no services), `validation_error` (a placeholder that is
            more than a name).
    """
    return _names(_root(text))


def shown(text: str) -> dict[str, str]:
    """Return the variables that a template uses where people see them, and one such place of each.

    Hidden are the values of environments, and the content of secrets and configs.

    Raises:
        Problem: as `placeholders`.
    """
    found: dict[str, str] = {}
    stack: list[tuple[tuple[str | int, ...], yaml.Node]] = [((), _root(text))]
    while stack:
        path, node = stack.pop()
        bare = _bare(node)
        if bare is not None or isinstance(node, yaml.ScalarNode):
            seen = _shown_part(path, f"{{{{ {bare} }}}}" if bare is not None else node.value)
            found |= dict.fromkeys(_PLACEHOLDER.findall(seen), ".".join(str(part) for part in path))
        elif isinstance(node, yaml.MappingNode):
            stack += [((*path, str(key.value)), value) for key, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            stack += [((*path, number), value) for number, value in enumerate(node.value)]
    return found


def _shown_part(path: tuple[str | int, ...], text: str) -> str:
    if len(path) == 4 and path[0] == "services" and path[2] == "environment":
        return text.partition("=")[0] if isinstance(path[3], int) else ""
    is_content = len(path) == 3 and path[0] in ("secrets", "configs") and path[2] == "content"
    return "" if is_content else text


def _root(text: str) -> yaml.MappingNode:
    if len(text.encode("utf-8", "surrogatepass")) > MOST_BYTES:
        raise Problem("compose_invalid", f"the compose file is larger than {MOST_BYTES} bytes")
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise Problem(
            "compose_invalid", f"the compose file is no YAML: {' '.join(str(error).split())}"
        ) from None
    if not isinstance(root, yaml.MappingNode):
        raise Problem("compose_invalid", "the compose file is not a mapping")
    _check_bounds(root)
    _check_services(root)
    return root


def _check_bounds(root: yaml.Node) -> None:
    """Count what would be there with every alias written out: that is what a bomb hides."""
    count = 0
    stack: list[tuple[yaml.Node, int]] = [(root, 1)]
    while stack:
        node, depth = stack.pop()
        count += 1
        if count > MOST_NODES or depth > MOST_DEPTH:
            raise Problem(
                "compose_invalid", f"the compose file has more than {MOST_NODES} nodes or {MOST_DEPTH} levels"
            )
        stack += [(child, depth + 1) for child in _children(node)]


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _check_services(root: yaml.MappingNode) -> None:
    named: dict[str, Any] = {
        key.value: value for key, value in root.value if isinstance(key, yaml.ScalarNode)
    }
    services = named.get("services")
    if not isinstance(services, yaml.MappingNode) or not services.value:
        raise Problem("compose_invalid", "the compose file has no services")
    for key, value in services.value:
        if not isinstance(value, yaml.MappingNode):
            raise Problem("compose_invalid", f"service {key.value} of the compose file is not a mapping")


def _names(root: yaml.Node) -> set[str]:
    names: set[str] = set()
    stack = [root]
    while stack:
        node = stack.pop()
        # A bare `{{ name }}` is a mapping within a mapping to YAML, whose key has that name.
        inner = _bare(node)
        if inner is not None:
            names.add(inner)
            continue
        if isinstance(node, yaml.ScalarNode):
            names |= {_checked(found) for found in _PLACEHOLDER.findall(node.value)}
        stack += _children(node)
    return names


def _bare(node: yaml.Node) -> str | None:
    if not isinstance(node, yaml.MappingNode) or not node.flow_style or len(node.value) != 1:
        return None
    key, _value = node.value[0]
    if not isinstance(key, yaml.MappingNode) or not key.flow_style or len(key.value) != 1:
        return None
    name = key.value[0][0]
    return name.value if isinstance(name, yaml.ScalarNode) and _NAME.fullmatch(name.value) else None


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise Problem(
            "validation_error",
            errors={
                "template": [f"{{{{ {name[:80]} }}}} is not a variable's name; there are no expressions"]
            },
        )
    return name
