# SPDX-License-Identifier: Apache-2.0
"""From results to steps, by data."""

from __future__ import annotations

import pytest

from controlplane.domain.step import MOST_PROGRESS, PROGRESS, TAIL, finished, progress, started


def test_an_action_of_ours_that_begins_is_a_step() -> None:
    assert started("runner_on_start", "tidegate.deploy.compose_verify", "a") == {
        "host": "a",
        "step": "health",
    }


@pytest.mark.parametrize(
    ("kind", "action"),
    [("runner_on_start", "ansible.builtin.debug"), ("runner_on_ok", "tidegate.deploy.compose_verify")],
)
def test_nothing_else_is(kind: str, action: str) -> None:
    assert started(kind, action, "a") is None


def test_each_step_of_a_result_is_told_with_its_end() -> None:
    data = {
        "steps": [
            {"step": "images_present", "status": "unchanged"},
            {"step": "project_up", "status": "failed"},
        ]
    }
    told = [(action, detail["step"]) for action, detail in finished("runner_on_failed", "a", data)]
    assert told == [("step_succeeded", "images_present"), ("step_failed", "project_up")]


def test_a_tail_is_bounded_whatever_a_module_sent() -> None:
    data = {"steps": [{"step": "project_up", "status": "failed", "stderr_tail": "x" * 10 * TAIL}]}
    assert len(next(finished("runner_on_failed", "a", data))[1]["stderr_tail"]) == TAIL


@pytest.mark.parametrize(
    "data", [None, {}, {"steps": None}, {"steps": "web"}, {"steps": [None, {"status": "ok"}]}]
)
def test_what_is_no_step_is_passed_over(data: dict[str, object] | None) -> None:
    assert list(finished("runner_on_ok", "a", data)) == []


def test_what_a_task_says_while_it_waits_is_progress_of_the_rollout() -> None:
    said = {"schema": PROGRESS, "host": "other", "object": "Deployment/web", "progress": "3/5 ready"}
    assert progress("runner_item_on_ok", "lab", said) == {
        "host": "lab", "step": "rollout", "object": "Deployment/web", "progress": "3/5 ready"
    }  # fmt: skip
    assert list(finished("runner_item_on_ok", "lab", said)) == []
    long = progress("runner_item_on_ok", "lab", {**said, "progress": "x" * 10 * MOST_PROGRESS})
    assert long is not None and len(long["progress"]) == MOST_PROGRESS


@pytest.mark.parametrize(
    ("kind", "data"),
    [("runner_on_ok", {"schema": PROGRESS}), ("runner_item_on_ok", {}), ("runner_item_on_ok", None)],
)
def test_an_item_of_a_loop_or_a_result_is_no_progress(kind: str, data: dict[str, object] | None) -> None:
    assert progress(kind, "lab", data) is None
