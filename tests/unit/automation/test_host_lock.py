# SPDX-License-Identifier: Apache-2.0
"""A host is taken by one installer at a time, who is named to the others."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.environment import host_lock
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(host_lock, "path", lambda: str(tmp_path / "state" / "environment.lock"))
    yield tmp_path / "state" / "environment.lock"


def taken(holder: str, token: int | None) -> str:
    with pytest.raises(ReleaseError) as caught:
        with host_lock.held(holder, token):
            pass
    assert caught.value.error_key == "resource_locked"
    return str(caught.value)


def test_the_same_installer_comes_again_and_another_is_told_who_it_is() -> None:
    for _ in range(2):
        with host_lock.held("task 1", 5):
            pass
    assert "task 1" in taken("task 2", 5)
    assert "task 1" in taken("by hand", None)


def test_a_later_task_takes_over_and_an_earlier_one_is_refused() -> None:
    with host_lock.held("task 1", 5):
        pass
    with host_lock.held("task 2", 6):
        pass
    assert "task 2" in taken("task 1", 5)


def test_nobody_takes_over_while_a_step_works(file: Path) -> None:
    with host_lock.held("task 1", 5):
        assert "task 1" in taken("task 2", 6)
        assert "task 1" in taken("task 1", 5)
    with file.open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "task 1" in taken("task 2", 6)


def test_a_claim_ends_when_it_is_released_or_old(file: Path) -> None:
    assert not host_lock.release("task 1")
    with host_lock.held("task 1", None):
        pass
    assert not host_lock.release("task 2")
    assert host_lock.release("task 1")
    with host_lock.held("task 2", None):
        pass
    file.write_text(json.dumps({**json.loads(file.read_text()), "until": 1}))
    with host_lock.held("task 3", None):
        pass
    file.write_text("no json")
    with host_lock.held("task 4", None):
        pass
