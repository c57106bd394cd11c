# SPDX-License-Identifier: Apache-2.0
"""A service's variables: their schema, and whether a value is one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from controlplane.domain.errors import Problem

TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}
RULES = frozenset(
    {"type", "required", "default", "enum", "pattern", "minimum", "maximum", "secret", "description"}
)
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
MOST = 200
LONGEST_VALUE = 64 * 1024
# A pattern is somebody's regular expression over somebody's value: both are kept short.
LONGEST_PATTERN = 500
LONGEST_MATCHED = 4096
_NESTED_REPEAT = re.compile(r"[+*}]\)*[+*{]|\([^()]*[+*][^()]*\)[+*{]")


def check_schema(schema: Mapping[str, Any]) -> None:
    """Let a variable schema pass: `{name: {type, required, default, enum, pattern, ...}}`.

    Raises:
        Problem: `validation_error`, naming each variable that is not well described.
    """
    errors: dict[str, list[str]] = {}
    if len(schema) > MOST:
        errors["variable_schema"] = [f"has more than {MOST} variables"]
    for name, rule in schema.items():
        found = _faults(name, rule)
        if found:
            errors[f"variable_schema.{name}"] = found
    if errors:
        raise Problem("validation_error", "the variable schema is not valid", errors=errors)


def _faults(name: str, rule: object) -> list[str]:
    if not NAME.fullmatch(name):
        return ["must be a name: letters, digits and _"]
    if not isinstance(rule, Mapping):
        return ["must be a mapping"]
    faults = [f"{key} is no rule" for key in sorted(set(rule) - RULES)]
    if rule.get("type", "string") not in TYPES:
        return [*faults, f"type must be one of {', '.join(TYPES)}"]
    faults += [
        f"{key} must be true or false"
        for key in ("required", "secret")
        if type(rule.get(key, False)) is not bool
    ]
    if rule.get("enum") is not None and not isinstance(rule["enum"], list):
        faults.append("enum must be a list")
    faults += [
        f"{key} must be a number"
        for key in ("minimum", "maximum")
        if rule.get(key) is not None
        and (isinstance(rule[key], bool) or not isinstance(rule[key], int | float))
    ]
    if rule.get("pattern"):
        faults += _pattern_faults(rule["pattern"])
    if not faults and rule.get("default") is not None:
        if rule.get("secret"):
            faults.append("a secret has no default: it would be shown with the schema")
        faults += check_value(rule, rule["default"])
    return faults


def _pattern_faults(pattern: object) -> list[str]:
    if not isinstance(pattern, str) or len(pattern) > LONGEST_PATTERN:
        return [f"pattern must be a text of at most {LONGEST_PATTERN} characters"]
    if _NESTED_REPEAT.search(pattern):
        return ["pattern repeats what repeats already: it could run for ever"]
    try:
        re.compile(pattern)
    except re.error as error:
        return [f"pattern is no regular expression: {error}"]
    return []


def check_value(rule: Mapping[str, Any], value: Any) -> list[str]:
    """Return what is wrong with a value; nothing when it fits. A boolean is no integer. Never repeats the value."""
    wanted = rule.get("type") or "string"
    if type(value) is bool and wanted != "boolean":
        return [f"must be {_article(wanted)}"]
    if not isinstance(value, TYPES[wanted]) or value != value:
        return [f"must be {_article(wanted)}"]
    faults = []
    if isinstance(value, str) and (len(value) > LONGEST_VALUE or "\0" in value):
        return [f"must have at most {LONGEST_VALUE} characters, none of them NUL"]
    if rule.get("enum") and value not in rule["enum"]:
        faults.append("is not one of the values that are allowed")
    if isinstance(value, str) and not _fits(rule.get("pattern"), value):
        faults.append("does not match the pattern of its schema")
    if rule.get("minimum") is not None and not isinstance(value, str) and value < rule["minimum"]:
        faults.append(f"must be at least {rule['minimum']}")
    if rule.get("maximum") is not None and not isinstance(value, str) and value > rule["maximum"]:
        faults.append(f"must be at most {rule['maximum']}")
    return faults


def _fits(pattern: str | None, value: str) -> bool:
    return not pattern or (len(value) <= LONGEST_MATCHED and re.fullmatch(pattern, value) is not None)


def _article(word: str) -> str:
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"


def resolve(
    schema: Mapping[str, Mapping[str, Any]], *layers: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the plain and the secret values: of each variable the first layer that has it, else its default.

    Raises:
        Problem: `validation_error`, naming each variable that is unknown, missing or of another type.
    """
    errors: dict[str, list[str]] = {}
    for name in sorted({name for layer in layers for name in layer} - set(schema)):
        errors[f"variables.{name}"] = ["is not a variable of this version"]
    plain: dict[str, Any] = {}
    secret: dict[str, Any] = {}
    for name, rule in schema.items():
        given = next((layer[name] for layer in layers if name in layer), rule.get("default"))
        if given is None:
            if rule.get("required"):
                errors[f"variables.{name}"] = ["is required and has no value"]
            continue
        faults = check_value(rule, given)
        if faults:
            errors[f"variables.{name}"] = faults
        (secret if rule.get("secret") else plain)[name] = given
    if errors:
        named = ", ".join(key.removeprefix("variables.") for key in errors)
        raise Problem("validation_error", f"variables that do not fit: {named}", errors=errors)
    return plain, secret
