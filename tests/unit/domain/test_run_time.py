# SPDX-License-Identifier: Apache-2.0
"""A run is given what its modules may take."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.compose import apply, registry
from ansible_collections.tidegate.deploy.plugins.module_utils.host import colour_project, image_store
from ansible_collections.tidegate.deploy.plugins.module_utils.kube import strategy

from controlplane.domain import run_time

ENTRY = {"port": 80, "service": "web", "service_port": 80, "drain_seconds": 3600}


def taken(strategy: str = "rolling", hosts: int = 1, images: int = 1, sent: int = 0, **params: Any) -> float:
    """The time of a run whose health wait is two minutes."""
    return run_time.on_hosts(
        strategy, params, hosts=hosts, images=images, archive_bytes=sent, health_timeout=120
    )


def test_it_knows_what_the_modules_give_up_after() -> None:
    modules = (
        registry.PULL_SECONDS, image_store.LOAD_SECONDS, apply.UP_SECONDS, colour_project.DOWN_SECONDS,
    )  # fmt: skip
    known = (
        run_time.PULL_SECONDS, run_time.LOAD_SECONDS, run_time.UP_SECONDS, run_time.DOWN_SECONDS,
    )  # fmt: skip
    assert known == modules


def test_every_image_may_take_its_whole_pull_on_every_host_in_turn() -> None:
    assert taken(hosts=3, images=2) > 3 * (2 * registry.PULL_SECONDS + apply.UP_SECONDS + 120)
    assert taken(hosts=3, images=2, max_parallel=3) < taken(hosts=3, images=2)
    # However many the strategy would let, Ansible works on so many at once.
    assert taken(hosts=40, max_parallel=1000) == taken(hosts=21, max_parallel=1000)


def test_what_is_sent_has_its_time() -> None:
    assert taken(sent=10 * 2**30) - taken() > 3600


@pytest.mark.parametrize(
    ("strategy", "params"),
    [("blue_green", ENTRY), ("canary", {**ENTRY, "mode": "traffic", "percent": 10})],
)
def test_both_other_colours_may_drain(strategy: str, params: dict[str, Any]) -> None:
    assert taken(strategy, **params) > 2 * 3600 + registry.PULL_SECONDS


def test_a_canary_has_its_pause_and_two_turns() -> None:
    canary = {"mode": "hosts", "percent": 50}
    assert taken("canary", hosts=2, **canary, pause_seconds=7200) > 7200 + 2 * registry.PULL_SECONDS
    assert taken("canary", hosts=2, **canary, pause_seconds=None) > 2 * registry.PULL_SECONDS


def test_a_canary_in_a_cluster_waits_for_what_it_adds_at_each_step_and_for_everything() -> None:
    steps = {"steps": [10, 50, 90], "pause_seconds": 100}
    assert run_time.in_cluster("canary", steps, 600) >= 3 * 100 + 5 * 600 + run_time.MARGIN_SECONDS
    assert run_time.in_cluster("canary", {**steps, "pause_seconds": None}, 600) >= 5 * 600


def test_a_canary_that_names_no_steps_has_those_of_the_automation_side() -> None:
    default = strategy.PARAMETERS["canary"]["steps"].default
    assert len(default) == run_time.CANARY_STEPS
    given = {"pause_seconds": 100}
    assert run_time.in_cluster("canary", given, 60) == run_time.in_cluster(
        "canary", {**given, "steps": default}, 60
    )
