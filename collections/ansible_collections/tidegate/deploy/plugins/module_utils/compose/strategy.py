# SPDX-License-Identifier: Apache-2.0
"""The parameters of each release strategy: what they may be, and what they are when they are not given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_DAY = 86400


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


def _whole(least: int, most: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _integer(least: int, most: int, default: int | None = None, required: bool = False) -> Parameter:
    return Parameter(_whole(least, most), f"a whole number from {least} to {most}", default, required)


_SERVICE = Parameter(
    lambda value: isinstance(value, str) and value != "", "the name of a service", None, True
)
_PORT = _integer(1, 65535, required=True)
_DRAIN = _integer(0, _DAY, default=10)
_PERCENT = _integer(1, 99, required=True)
_PAUSE = Parameter(
    lambda value: value is None or _whole(0, _DAY)(value),
    f"seconds from 0 to {_DAY}, or null to wait for a decision",
)

PARAMETERS: dict[str, dict[str, Parameter]] = {
    "rolling": {"max_parallel": _integer(1, 1000, default=1), "failure_budget": _integer(0, 1000, default=0)},
    "blue_green": {
        "port": _PORT,
        "service": _SERVICE,
        "service_port": _PORT,
        "keep_old": Parameter(lambda value: isinstance(value, bool), "true or false", True),
        "drain_seconds": _DRAIN,
    },
    "canary/hosts": {"percent": _PERCENT, "pause_seconds": _PAUSE},
    "canary/traffic": {
        "percent": _PERCENT,
        "pause_seconds": _PAUSE,
        "port": _PORT,
        "service": _SERVICE,
        "service_port": _PORT,
        "drain_seconds": _DRAIN,
    },
}
STRATEGIES = ("rolling", "blue_green", "canary")
_MODES = ("hosts", "traffic")


def parse(strategy: str, given: Any) -> dict[str, Any]:
    """All parameters of the strategy, those not given at their defaults; raises StrategyError.

    A canary's answer has its `mode` too.
    """
    if not isinstance(given, dict):
        raise StrategyError("strategy_params", "strategy_params is not a mapping")
    params = dict(given)
    key = strategy
    chosen: dict[str, Any] = {}
    if strategy == "canary":
        mode = params.pop("mode", None)
        if mode not in _MODES:
            raise StrategyError("mode", f"mode of a canary is {mode!r}, expected one of {', '.join(_MODES)}")
        key, chosen = f"canary/{mode}", {"mode": mode}
    if strategy not in STRATEGIES:
        raise StrategyError("strategy", f"strategy is {strategy!r}, expected one of {', '.join(STRATEGIES)}")
    known = PARAMETERS[key]
    for name in params:
        if name not in known:
            raise StrategyError(
                str(name), f"{key} has no parameter {name}; it has {', '.join(sorted(known))}"
            )
    for name, parameter in known.items():
        if name not in params and parameter.required:
            raise StrategyError(name, f"{key} needs {name}: {parameter.expected}")
        value = params.get(name, parameter.default)
        if name in params and not parameter.accepts(value):
            raise StrategyError(name, f"{name} is {value!r}, expected {parameter.expected}")
        chosen[name] = value
    return chosen


def first_share(hosts: list[str], percent: int) -> list[str]:
    """The hosts that a canary in mode `hosts` releases to first: at least one, and never all of several."""
    count = max(1, min(len(hosts) - 1, -(-len(hosts) * percent // 100)))
    return sorted(hosts)[:count]
