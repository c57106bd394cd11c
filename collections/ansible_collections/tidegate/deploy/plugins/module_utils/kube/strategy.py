# SPDX-License-Identifier: Apache-2.0
"""The parameters of each release strategy on Kubernetes."""

from __future__ import annotations

import re
from typing import Any

from ..release.errors import ReleaseError
from ..release.strategy_parameter import Parameter, StrategyError, chosen, integer, whole

_DAY = 86400
_SHARE = re.compile(r"(?:100|[0-9]{1,2})%")
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
STRATEGIES = ("rolling", "blue_green", "canary")


def _named(what: str) -> Parameter:
    return Parameter(
        lambda value: isinstance(value, str) and bool(_NAME.fullmatch(value)),
        f"the name of a {what}",
        None,
        True,
    )


def _is_share(value: Any) -> bool:
    return (
        value is None or whole(0, 10000)(value) or (isinstance(value, str) and bool(_SHARE.fullmatch(value)))
    )


def _are_steps(value: Any) -> bool:
    return (
        isinstance(value, list)
        and 0 < len(value) <= 20
        and all(whole(1, 99)(one) for one in value)
        and sorted(set(value)) == value
    )


_AMOUNT = Parameter(_is_share, "a number of pods, or a share like 25%")
_FORCE = Parameter(lambda value: isinstance(value, bool), "true or false", False)
_PAUSE = Parameter(
    lambda value: value is None or whole(0, _DAY)(value),
    f"seconds from 0 to {_DAY}, or null to wait for a decision",
)
PARAMETERS: dict[str, dict[str, Parameter]] = {
    "rolling": {"max_surge": _AMOUNT, "max_unavailable": _AMOUNT, "force_conflicts": _FORCE},
    "blue_green": {
        "service": _named("Service"),
        "workload": _named("Deployment"),
        "keep_old_seconds": Parameter(
            lambda value: value is None or whole(0, _DAY)(value),
            f"seconds from 0 to {_DAY}, or null to keep it until the next release",
        ),
        "force_conflicts": _FORCE,
    },
    "canary": {
        "workload": _named("Deployment"),
        "steps": Parameter(_are_steps, "a list of growing percentages from 1 to 99", [10, 50]),
        "pause_seconds": _PAUSE,
        "max_restarts": integer(0, 1000, default=0),
        "force_conflicts": _FORCE,
    },
}


def parse(strategy: str, given: Any) -> dict[str, Any]:
    """All parameters, those not given at their defaults; raises ReleaseError validation_error."""
    try:
        if strategy not in PARAMETERS:
            raise StrategyError(
                "strategy", f"strategy is {strategy!r}, expected one of {', '.join(STRATEGIES)}"
            )
        if not isinstance(given, dict):
            raise StrategyError("strategy_params", "strategy_params is not a mapping")
        params = chosen(strategy, PARAMETERS[strategy], given)
        pace = [str(params.get(name)) for name in ("max_surge", "max_unavailable")]
        if all(one in ("0", "0%") for one in pace):
            raise StrategyError("max_surge", "max_surge and max_unavailable cannot both be 0")
        return params
    except StrategyError as error:
        raise ReleaseError("validation_error", str(error), field=error.field) from error
