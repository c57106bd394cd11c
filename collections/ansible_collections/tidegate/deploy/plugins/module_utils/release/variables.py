# SPDX-License-Identifier: Apache-2.0
"""Typed variables and the `{{ name }}` placeholders that stand for them: no expressions, no filters."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from .errors import ReleaseError

PLACEHOLDER = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


def checked(variables: Mapping[str, Any], schema: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The values of all declared variables, defaults filled in; raises ReleaseError validation_error."""
    for name in variables:
        if name not in schema:
            raise ReleaseError(
                "validation_error", f"unknown variable {name}", "Declare it in the schema.", field=name
            )
    values = {}
    for name, rule in schema.items():
        value = variables[name] if name in variables else rule.get("default")
        if value is None:
            if rule.get("required"):
                raise ReleaseError("validation_error", f"variable {name} is missing", field=name)
            if rule.get("default", "") is None or name in variables:
                values[name] = None
            continue
        _check_one(name, value, rule)
        values[name] = value
    return values


def _check_one(name: str, value: Any, rule: Mapping[str, Any]) -> None:
    kind = rule.get("type") or "string"

    def refuse(why: str) -> ReleaseError:
        return ReleaseError("validation_error", f"variable {name} {why}", field=name)

    if kind not in _TYPES:
        raise refuse(f"has an unknown type {kind}")
    if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "boolean"):
        raise refuse(f"is not of type {kind}")
    if rule.get("enum") and value not in rule["enum"]:
        raise refuse("is none of the allowed values")
    if isinstance(value, str):
        if "\x00" in value:
            raise refuse("has a NUL in it")
        if rule.get("pattern") and not re.fullmatch(rule["pattern"], value):
            raise refuse("does not match its pattern")
    elif not isinstance(value, bool):
        if rule.get("minimum") is not None and value < rule["minimum"]:
            raise refuse(f"is less than {rule['minimum']}")
        if rule.get("maximum") is not None and value > rule["maximum"]:
            raise refuse(f"is more than {rule['maximum']}")


def names(text: str, values: Mapping[str, Any]) -> set[str]:
    """The variables that a text uses; raises ReleaseError validation_error for what is none."""
    found = set()
    for match in PLACEHOLDER.finditer(text):
        name = match[1]
        if name.startswith("."):
            continue
        if not _NAME.fullmatch(name):
            raise ReleaseError(
                "validation_error", f"{{{{ {name} }}}} is no variable: there are no expressions"
            )
        if name not in values:
            raise ReleaseError(
                "validation_error",
                f"undefined variable {name} is used",
                "Give it, or declare a default.",
                field=name,
            )
        found.add(name)
    return found


def filled(
    template: str, values: Mapping[str, Any], escape: Callable[[str], str] = lambda value: value
) -> Any:
    """A scalar with its placeholders replaced; one that is a placeholder as a whole has the value's own type."""
    whole = PLACEHOLDER.fullmatch(template)
    if whole and _NAME.fullmatch(whole[1]):
        value = values[whole[1]]
        return escape(value) if isinstance(value, str) else value

    def one(match: re.Match[str]) -> str:
        return match[0] if match[1].startswith(".") else escape(text(values[match[1]]))

    return PLACEHOLDER.sub(one, template)


def text(value: Any) -> str:
    """A value inside a longer text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
