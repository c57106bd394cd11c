# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.compose import fingerprint, health, summary


def container(service: str = "web", status: str = "running", **state: Any) -> dict[str, Any]:
    return {
        "Id": f"id-{service}",
        "Name": f"/shop-{service}-1",
        "Image": "sha256:1",
        "Config": {"Labels": {"com.docker.compose.service": service}, "Image": "shop:1", "Env": ["A=1"]},
        "State": {"Status": status, **state},
    }


@pytest.mark.parametrize(
    ("found", "one_shot", "ready"),
    [
        (container(), False, True),
        (container(Health={"Status": "healthy"}), False, True),
        (container(Health={"Status": "starting"}), False, False),
        (container(Health={"Status": "unhealthy"}), False, False),
        (container(status="exited", ExitCode=0), False, False),
        (container(status="exited", ExitCode=0), True, True),
        (container(status="exited", ExitCode=3), True, False),
        (container(status="restarting"), False, False),
    ],
)
def test_who_is_ready(found: dict[str, Any], one_shot: bool, ready: bool) -> None:
    assert health.is_ready(found, one_shot) is ready


def test_every_replica_is_waited_for_and_a_profile_is_not() -> None:
    definitions = {"web": {"deploy": {"replicas": 2}}, "job": {"restart": "no"}, "debug": {"profiles": ["x"]}}
    found = [container(), container("job", "exited", ExitCode=0)]
    assert health.waiting_for(definitions, found) == ["web"]
    assert health.waiting_for(definitions, [*found, container()]) == []
    assert health.waiting_for({"web": {"scale": 0}}, []) == []


def test_what_runs_tells_the_worst_health_and_no_environment() -> None:
    told = health.live(
        [container(Health={"Status": "healthy"}), container(Health={"Status": "unhealthy"})],
        {"release_id": "r"},
    )
    (web,) = told["services"]
    assert (web["replicas"], web["running"], web["health"], told["release_id"]) == (2, 2, "unhealthy", "r")
    assert "A=1" not in str(told)


def test_a_host_has_a_key_of_its_own_for_fingerprints() -> None:
    whole = fingerprint.Veil(b"installation")
    assert whole.key_of("a", "shop") == whole.key_of("a", "shop")
    assert len({whole.key_of("a", "shop"), whole.key_of("b", "shop"), whole.key_of("a", "cart")}) == 3
    facts = {"containers": [container()], "applied": {}}
    own = fingerprint.Veil(whole.key_of("a", "shop"))
    assert fingerprint.live_parts(facts, own) != fingerprint.live_parts(facts, whole)


def test_lines_for_people() -> None:
    preview = {
        "services": [
            {"name": "web", "action": "change", "changes": [{"path": "image", "before": "a", "after": "b"}]},
            {"name": "old", "action": "remove", "changes": []},
        ],
        "images": [
            {"reference": "b", "digest": None, "image_id": "sha256:2", "present": False, "source": "archive"}
        ],
        "checks": [{"level": "warning", "code": "w", "message": "m", "hint": "h"}],
        "risk_facts": ["deletes"],
    }
    assert summary.of_preview(preview) == [
        "web changes",
        "  image: a -> b",
        "old is removed",
        "image b comes from its archive (sha256:2)",
        "warning: w: m. h",
        "risks: deletes",
    ]
    steps = {
        "steps": [{"step": "project_up", "status": "succeeded", "duration_ms": 5}],
        "live": health.live([container()], {"release_id": "rel"}),
    }
    assert summary.of_steps(steps) == [
        "project_up: succeeded, 5 ms",
        "web: 1 of 1 running, health none, image shop:1",
        "release: rel",
    ]
