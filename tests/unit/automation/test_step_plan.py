# SPDX-License-Identifier: Apache-2.0
"""Which steps a host has, with which inputs, how long and how often."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.environment import step_plan
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError

INDEX: dict[str, Any] = {
    "steps": [
        {"name": "both", "runtime": ["compose", "k8s"], "runs_on": ["all"], "timeout": 10, "retries": 2},
        {"name": "init", "runtime": ["k8s"], "runs_on": ["first_control_plane"], "timeout": 600},
        {"name": "join", "runtime": ["k8s"], "runs_on": ["worker"], "timeout": 600, "inputs": ["auth_pass"]},
    ],
    "defaults": {"log_files": 3, "root": "/var"},
    "profiles": {"small": {"log_files": 1}},
    "features": {"vip": {"artifacts": [], "inputs": ["vip_address"]}},
}
NODES = [
    {"host": "a", "role": "worker"},
    {"host": "b", "role": "control_plane"},
    {"host": "c", "role": "control_plane"},
]


@pytest.mark.parametrize(
    ("host", "expected"),
    [("a", ["both", "join"]), ("b", ["both", "init"]), ("c", ["both"])],
)
def test_a_host_has_the_steps_of_its_roles(host: str, expected: list[str]) -> None:
    its = step_plan.roles({"nodes": NODES}, host, None)
    assert [one["name"] for one in step_plan.steps(INDEX, "k8s", its)] == expected


def test_by_hand_a_host_may_say_what_it_is() -> None:
    assert step_plan.roles({}, "x", "control_plane") == {"all", "control_plane", "first_control_plane"}
    assert step_plan.roles({}, "x", None) == {"all", "compose_manager"}


def test_the_request_wins_over_the_profile_and_that_over_the_default() -> None:
    asked = {"profile": "small", "inputs": {"root": "/srv", "auth_pass": "s3cret"}}
    shown = [one.shown() for one in step_plan.inputs(INDEX, asked)]
    assert shown == [
        {"name": "auth_pass", "value": "***", "origin": "request"},
        {"name": "log_files", "value": 1, "origin": "profile"},
        {"name": "root", "value": "/srv", "origin": "request"},
    ]


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"profile": "large"}, "no large; it has: small"),
        ({"inputs": {"log_file": 3}}, "no log_file"),
        ({"inputs": {"vip_address": "192.0.2.9/24"}}, "no vip_address"),
        ({"inputs": ["log_files"]}, "expected a mapping"),
    ],
)
def test_what_the_index_does_not_know_is_refused_and_named(asked: dict[str, Any], named: str) -> None:
    with pytest.raises(ReleaseError, match=named) as caught:
        step_plan.inputs(INDEX, asked)
    assert caught.value.error_key == "validation_error"


def test_limits_are_the_index_s() -> None:
    assert step_plan.limits(INDEX, "both") == (10, 2)
    assert step_plan.limits(INDEX, "init") == (600, 0)
    assert step_plan.limits({}, "unknown").retries == 0


@pytest.mark.parametrize("planes", [0, 2, 4])
def test_a_cluster_has_one_or_three_control_planes(planes: int) -> None:
    nodes = [{"host": f"n{number}", "role": "control_plane"} for number in range(planes)]
    with pytest.raises(ReleaseError, match="one or three"):
        step_plan.require_nodes("k8s", [*nodes, {"host": "w", "role": "worker"}])
    step_plan.require_nodes("compose", nodes)
