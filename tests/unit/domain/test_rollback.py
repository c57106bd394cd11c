# SPDX-License-Identifier: Apache-2.0
"""A rollback goes a way that works where the undone release left things."""

from __future__ import annotations

import pytest

from controlplane.domain.errors import Problem
from controlplane.domain.rollback import Way, way

ENTRY = {"port": 8080, "service": "web", "service_port": 80}
ROLLING = Way("rolling", {"max_parallel": 2})
BLUE_GREEN = Way("blue_green", {**ENTRY, "drain_seconds": 3, "keep_old": False})
TRAFFIC = Way("canary", {**ENTRY, "mode": "traffic", "percent": 10, "pause_seconds": None})
HOSTS = Way("canary", {"mode": "hosts", "percent": 10})


@pytest.mark.parametrize(
    ("goal", "undone", "expected"),
    [
        (ROLLING, Way("rolling", {}), ROLLING),
        (ROLLING, BLUE_GREEN, BLUE_GREEN),
        (ROLLING, TRAFFIC, Way("blue_green", {**ENTRY, "keep_old": False})),
        (TRAFFIC, TRAFFIC, Way("blue_green", {**ENTRY, "keep_old": False})),
        (HOSTS, TRAFFIC, Way("blue_green", {**ENTRY, "keep_old": False})),
        # The entry as it was when the goal was there: its port may have been another one.
        (Way("blue_green", {**ENTRY, "port": 9090}), BLUE_GREEN,
         Way("blue_green", {**ENTRY, "port": 9090, "keep_old": True})),
        (BLUE_GREEN, ROLLING, BLUE_GREEN),
        (ROLLING, HOSTS, ROLLING),
        (HOSTS, ROLLING, ROLLING),
        (HOSTS, HOSTS, Way("rolling", {})),
    ],
)  # fmt: skip
def test_on_hosts(goal: Way, undone: Way, expected: Way) -> None:
    assert way("compose", goal, undone) == expected


COLOURS = Way("blue_green", {"workload": "web", "service": "web"})
STEPS = Way("canary", {"workload": "web", "steps": [10], "force_conflicts": True})


@pytest.mark.parametrize(
    ("goal", "undone", "expected"),
    [
        (COLOURS, COLOURS, COLOURS),
        (Way("rolling", {}), COLOURS, Way("rolling", {})),
        (Way("rolling", {"max_surge": 1}), STEPS, Way("rolling", {"max_surge": 1})),
        (STEPS, STEPS, Way("rolling", {"force_conflicts": True})),
    ],
)
def test_in_a_cluster(goal: Way, undone: Way, expected: Way) -> None:
    assert way("k8s", goal, undone) == expected


@pytest.mark.parametrize(
    ("goal", "force", "expected"),
    [
        (Way("rolling", {"max_surge": 1}), True, Way("rolling", {"max_surge": 1, "force_conflicts": True})),
        (COLOURS, True, Way("blue_green", {**COLOURS.params, "force_conflicts": True})),
        (STEPS, None, Way("rolling", {"force_conflicts": True})),
        (STEPS, False, Way("rolling", {"force_conflicts": False})),
        (Way("rolling", {}), False, Way("rolling", {})),
    ],
)
def test_in_a_cluster_fields_of_others_are_taken_over_when_that_is_asked_for(
    goal: Way, force: bool | None, expected: Way
) -> None:
    undone = COLOURS if goal == COLOURS else Way("rolling", {})
    assert way("k8s", goal, undone, force) == expected


def test_on_hosts_nobody_owns_a_field() -> None:
    with pytest.raises(Problem) as refused:
        way("compose", ROLLING, ROLLING, True)
    assert refused.value.error_key == "validation_error"
    assert refused.value.errors == {"force_conflicts": ["is nothing that compose has"]}
    assert way("compose", ROLLING, ROLLING, False) == ROLLING
