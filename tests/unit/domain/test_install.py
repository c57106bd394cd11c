# SPDX-License-Identifier: Apache-2.0
"""The states of an install's task, what may become an environment, and where a task goes on."""

from __future__ import annotations

import itertools

import pytest

from controlplane.domain import install
from controlplane.domain.errors import Problem
from controlplane.domain.install import STATUSES, TRANSITIONS, TaskState


def test_every_state_has_its_row_and_its_words() -> None:
    assert set(TRANSITIONS) == set(STATUSES) == set(TaskState)
    words = list(itertools.chain.from_iterable(STATUSES.values()))
    assert len(words) == len(set(words))


@pytest.mark.parametrize(("origin", "goal"), list(itertools.product(TaskState, TaskState)))
def test_only_what_the_table_names_passes(origin: TaskState, goal: TaskState) -> None:
    if goal in TRANSITIONS[origin]:
        install.check_transition(origin, goal)
    else:
        with pytest.raises(Problem, match="conflict"):
            install.check_transition(origin, goal)


def test_a_failed_task_goes_on_and_one_that_is_taken_back_does_not() -> None:
    assert TaskState.PENDING in TRANSITIONS[TaskState.FAILED]
    assert not TRANSITIONS[TaskState.ROLLED_BACK] and not TRANSITIONS[TaskState.CANCELLED]


def test_a_word_of_another_state_is_a_fault_of_ours() -> None:
    with pytest.raises(ValueError, match="previewed"):
        install.check_status(TaskState.RUNNING, "previewed")


@pytest.mark.parametrize(
    ("runtime", "roles"),
    [
        ("compose", []),
        ("k8s", []),
        ("k8s", ["worker"]),
        ("k8s", ["control_plane"] * 2),
        ("k8s", ["control_plane"] * 4 + ["worker"]),
    ],
)
def test_what_cannot_become_an_environment(runtime: str, roles: list[str]) -> None:
    with pytest.raises(Problem, match="insufficient_nodes"):
        install.check_nodes(runtime, roles)


@pytest.mark.parametrize(
    ("runtime", "roles"),
    [
        ("compose", ["compose_worker"]),
        ("k8s", ["control_plane"]),
        ("k8s", ["control_plane"] * 3 + ["worker"] * 2),
    ],
)
def test_what_can(runtime: str, roles: list[str]) -> None:
    install.check_nodes(runtime, roles)


def test_a_task_goes_on_behind_what_is_done_on_each_host() -> None:
    steps = [
        ("a", "bundle_delivery", "succeeded"),
        ("a", "container_runtime", "unchanged"),
        ("b", "bundle_delivery", "succeeded"),
        ("b", "container_runtime", "failed"),
        ("c", "bundle_delivery", "running"),
    ]
    assert install.steps_done(steps) == {
        "a": ["bundle_delivery", "container_runtime"],
        "b": ["bundle_delivery"],
    }


def test_the_cluster_is_found_among_the_results() -> None:
    made = {"kubeconfig": "text"}
    assert install.find_cluster({"a.install": {}, "a.cluster": made, "b.cluster": "cut off"}) == made
    assert install.find_cluster({"a.install": {}}) is None
