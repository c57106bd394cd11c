# SPDX-License-Identifier: Apache-2.0
"""One parameter of a release strategy: what it may be, and what it is when it is not given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


class StrategyError(ValueError):
    """A strategy or parameter that cannot be: error key validation_error; `field` names it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class Parameter:
    """One parameter: `accepts` says whether a value is one, `expected` says it to people."""

    accepts: Callable[[Any], bool]
    expected: str
    default: Any = None
    required: bool = False


def whole(least: int, most: int) -> Callable[[Any], bool]:
    """Is it a whole number between the two?"""
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def integer(least: int, most: int, default: int | None = None, required: bool = False) -> Parameter:
    """A whole number."""
    return Parameter(whole(least, most), f"a whole number from {least} to {most}", default, required)


def chosen(strategy: str, known: Mapping[str, Parameter], given: Mapping[str, Any]) -> dict[str, Any]:
    """All parameters of a strategy, those not given at their defaults; raises StrategyError."""
    for name in given:
        if name not in known:
            raise StrategyError(
                str(name), f"{strategy} has no parameter {name}; it has {', '.join(sorted(known))}"
            )
    found = {}
    for name, parameter in known.items():
        if name not in given and parameter.required:
            raise StrategyError(name, f"{strategy} needs {name}: {parameter.expected}")
        value = given.get(name, parameter.default)
        if name in given and not parameter.accepts(value):
            raise StrategyError(name, f"{name} is {value!r}, expected {parameter.expected}")
        found[name] = value
    return found
