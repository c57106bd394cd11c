# SPDX-License-Identifier: Apache-2.0
"""One operation at a time on a host: cancelled, fenced, and taken over after its controller died."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.host import LabHost
from tests.lab.lab import Lab

from .release import COMPOSE, STARTING, Releases

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]
LOCK = "/var/lib/tidegate/projects/shop/operation.lock"


def holder(host: LabHost, token: int) -> int:
    """The process that holds the lock with this token, as soon as it does."""
    for _ in range(150):
        said = host.run(["cat", LOCK], check=False).stdout
        if said and json.loads(said).get("fencing_token") == token:
            return int(json.loads(said)["pid"])
        time.sleep(0.2)
    raise AssertionError(f"nothing holds the lock with {token}")


def lives(host: LabHost, pid: int) -> bool:
    return host.run(["test", "-d", f"/proc/{pid}"], check=False).returncode == 0


def waits_for_health(host: LabHost) -> None:
    for _ in range(150):
        if host.run(["docker", "ps", "-q"], check=False).stdout.strip():
            time.sleep(1.5)
            return
        time.sleep(0.2)
    raise AssertionError("no container was begun")


def test_cancel_ends_the_wait_for_health(lab: Lab, lab_host: Callable[..., LabHost], tmp_path: Path) -> None:
    host = lab_host()
    shop = Releases(lab, tmp_path, host)
    spec = shop.previewed(shop.spec("1", compose=STARTING, health_timeout=200), token=10)
    running = shop.begin("apply", spec)
    waits_for_health(host)
    pid = holder(host, 10)
    assert shop.run("cancel", spec)
    told = shop.result(host.name, "cancel")
    assert told["ended"] is True
    assert shop.steps(host.name, "cancel") == {"operation_ended": "succeeded"}
    assert not lives(host, pid)
    assert running.wait(timeout=20) != 0
    assert shop.run("cancel", spec)
    assert shop.result(host.name, "cancel")["ended"] is True
    assert shop.steps(host.name, "cancel") == {"operation_ended": "unchanged"}


def test_a_lower_token_is_refused(lab: Lab, lab_host: Callable[..., LabHost], tmp_path: Path) -> None:
    host = lab_host()
    shop = Releases(lab, tmp_path, host)
    assert shop.run("apply", shop.previewed(shop.spec("1"), token=10)), shop.said
    late = shop.previewed(shop.spec("2"), token=9)
    assert not shop.run("apply", late)
    assert shop.result(host.name, "apply")["error_key"] == "target_locked"
    assert shop.run("apply", {**late, "fencing_token": 11}), shop.said


def test_a_job_taken_up_again_ends_the_orphan_does_not_compare_and_finishes(
    lab: Lab, lab_host: Callable[..., LabHost], tmp_path: Path
) -> None:
    host = lab_host()
    shop = Releases(lab, tmp_path, host)
    spec = shop.previewed(shop.spec("1", compose=STARTING, health_timeout=200), token=10)
    first = shop.begin("apply", spec)
    waits_for_health(host)
    orphan = holder(host, 10)
    first.kill()
    first.wait()
    assert lives(host, orphan)
    healthy = shop.spec("1", compose=COMPOSE)
    again = {**spec, "fencing_token": 11, "rendered": shop.preview(healthy)[host.name]["rendered"]}
    # Another release finds that the host moved; this one moved it itself.
    assert not shop.run("apply", {**again, "release_id": "rel_other"})
    assert shop.result(host.name, "apply")["error_key"] == "preview_stale"
    assert "web.image" in shop.result(host.name, "apply")["detail"]["moved"]
    assert shop.run("apply", again), shop.said
    assert not lives(host, orphan)
    assert shop.run("apply", {**again, "fencing_token": 12}), shop.said
    assert set(shop.steps(host.name).values()) == {"unchanged"}
