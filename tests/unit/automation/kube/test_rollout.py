# SPDX-License-Identifier: Apache-2.0
"""Waiting for many workloads, on a server that fails now and then."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.kube import kinds, rollout
from ansible_collections.tidegate.deploy.plugins.module_utils.kube.session import ApiError


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
