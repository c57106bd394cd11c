# SPDX-License-Identifier: Apache-2.0
"""Waiting for many workloads, on a server that fails now and then."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.kube import kinds, readiness, rollout
from ansible_collections.tidegate.deploy.plugins.module_utils.kube.session import ApiError
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError


def deployment(number: int) -> dict[str, Any]:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": f"web-{number}", "namespace": "shop"},
            "spec": {"replicas": 1}}  # fmt: skip


def watch(count: int) -> rollout._Watch:
    things = [deployment(number) for number in range(count)]
    return rollout._Watch(None, "shop", things, lambda who, said: None, [])  # type: ignore[arg-type]


def test_every_workload_has_its_turn_however_many_there_are() -> None:
    its = watch(25)
    left = list(its.things)
    looked = [its._turn(left) for _ in range(3)]
    assert all(len(one) == 10 for one in looked)
    assert {one for turn in looked for one in turn} == set(left)
    # What got ready in between takes no turn.
    few = left[3:5]
    assert sorted(its._turn(few)) == sorted(few)
    assert its._turn([kinds.Ref("v1", "Service", "shop", "web")]) == []


def failing(*statuses: int) -> Any:
    answers = list(statuses)

    def ask(left: Any) -> None:
        if answers and (status := answers.pop(0)):
            raise ApiError(status, {"message": "no"})

    return ask


def test_a_server_that_fails_for_a_moment_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    its, now = watch(1), [100.0]
    monkeypatch.setattr(rollout.time, "monotonic", lambda: now[0])
    its._answered = now[0]
    ask = failing(503, 500, 0, 504, 502)
    for _ in range(4):
        its._patiently(ask, [])
        now[0] += 10
    with pytest.raises(ApiError):
        its._patiently(ask, [])
    its._answered = now[0]
    with pytest.raises(ApiError):
        its._patiently(failing(403), [])


def late(generation: int, seen: int, since: str, **status: Any) -> dict[str, Any]:
    """A Deployment of which its controller says that it makes no progress."""
    thing = deployment(0)
    thing["metadata"]["generation"] = generation
    said = {"type": "Progressing", "status": "False", "reason": readiness.LATE, "message": "timed out",
            "lastUpdateTime": since}  # fmt: skip
    return {**thing, "status": {"observedGeneration": seen, "conditions": [said], **status}}


def hope(first: dict[str, Any], then: dict[str, Any]) -> None:
    """Begin with what an apply answered, look again, and say whether there is hope."""
    its = rollout._Watch(None, "shop", [first], lambda who, said: None, [])  # type: ignore[arg-type]
    (one,) = its.things
    its.things[one] = then
    its._require_hope([one])


@pytest.fixture
def without_diagnosis(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody asks a server why."""
    monkeypatch.setattr(rollout.diagnosis, "objects", lambda cluster, things: [])


NIGHT, MORNING = "2026-01-01T03:00:00Z", "2026-01-01T08:00:00Z"


@pytest.mark.usefixtures("without_diagnosis")
def test_what_was_said_of_a_deployment_before_it_was_changed_says_nothing_of_it_now() -> None:
    """Rolled back from a release that stood for hours: the controller first publishes what it knew."""
    hope(late(3, 2, NIGHT), late(3, 3, NIGHT, replicas=2, updatedReplicas=1))
    with pytest.raises(ReleaseError, match="timed out"):
        hope(late(3, 2, NIGHT), late(3, 3, MORNING))


@pytest.mark.usefixtures("without_diagnosis")
def test_a_deployment_that_was_not_changed_and_stands_still_is_given_up_at_once() -> None:
    with pytest.raises(ReleaseError, match="timed out"):
        hope(late(3, 3, NIGHT), late(3, 3, NIGHT))


def test_one_that_has_all_it_wants_is_ready_whatever_was_said_before() -> None:
    every = {"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
    assert readiness.assess(late(3, 3, NIGHT, **every)).ready
