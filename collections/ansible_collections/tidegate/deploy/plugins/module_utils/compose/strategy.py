# SPDX-License-Identifier: Apache-2.0
"""The parameters of each release strategy: what they may be, and what they are when they are not given."""

from __future__ import annotations

from typing import Any

from ..release.strategy_parameter import Parameter, StrategyError, chosen, integer, whole

_DAY = 86400

_SERVICE = Parameter(
    lambda value: isinstance(value, str) and value != "", "the name of a service", None, True
)
_PORT = integer(1, 65535, required=True)
_DRAIN = integer(0, _DAY, default=10)
_PERCENT = integer(1, 99, required=True)
_PAUSE = Parameter(
    lambda value: value is None or whole(0, _DAY)(value),
    f"seconds from 0 to {_DAY}, or null to wait for a decision",
)

PARAMETERS: dict[str, dict[str, Parameter]] = {
    "rolling": {"max_parallel": integer(1, 1000, default=1), "failure_budget": integer(0, 1000, default=0)},
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
    picked: dict[str, Any] = {}
    if strategy == "canary":
        mode = params.pop("mode", None)
        if mode not in _MODES:
            raise StrategyError("mode", f"mode of a canary is {mode!r}, expected one of {', '.join(_MODES)}")
        key, picked = f"canary/{mode}", {"mode": mode}
    if strategy not in STRATEGIES:
        raise StrategyError("strategy", f"strategy is {strategy!r}, expected one of {', '.join(STRATEGIES)}")
    known = PARAMETERS[key]
    return picked | chosen(key, known, params)


def first_share(hosts: list[str], percent: int) -> list[str]:
    """The hosts that a canary in mode `hosts` releases to first: at least one, and never all of several."""
    count = max(1, min(len(hosts) - 1, -(-len(hosts) * percent // 100)))
    return sorted(hosts)[:count]
