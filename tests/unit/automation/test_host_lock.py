# SPDX-License-Identifier: Apache-2.0
"""A host is taken by one installer at a time, who is named to the others."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.environment import host_lock
from ansible_collections.tidegate.deploy.plugins.module_utils.network_entry import remembered
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError

Begin = Callable[..., subprocess.Popen[str]]


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


def test_tokens_of_two_installations_are_not_compared() -> None:
    with host_lock.held("tidegate aaaa task 1", 100):
        pass
    assert "aaaa" in taken("tidegate bbbb task 1", 101)
    with host_lock.held("tidegate aaaa task 2", 101):
        pass
    assert host_lock.release("tidegate aaaa task 2")
    with host_lock.held("tidegate bbbb task 1", 7):
        pass


def test_a_network_entry_of_somebody_else_waits_for_an_install_that_is_between_two_steps(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembered.state_folder, "path", lambda name: str(file.with_name(name)))
    with host_lock.held("tidegate aaaa task 1", 100):
        pass
    with pytest.raises(ReleaseError, match="aaaa") as caught, remembered.held("tidegate bbbb task 2", 101):
        pass
    assert caught.value.error_key == "resource_locked" and file.exists()
    with remembered.held("tidegate aaaa task 2", 101):
        pass


def test_a_step_that_takes_longer_than_a_claim_lasts_has_the_host_still(file: Path, at_work: Begin) -> None:
    process = at_work("task 1")
    file.write_text(json.dumps({**json.loads(file.read_text()), "until": 1}))
    assert (host_lock.other("task 2"), host_lock.other("task 1")) == ("task 1", "")
    process.kill()
    process.wait()
    assert host_lock.other("task 2") == ""


def test_nobody_takes_over_while_a_step_works(file: Path) -> None:
    with host_lock.held("task 1", 5):
        assert "task 1" in taken("task 2", 6)
        assert "task 1" in taken("task 1", 5)
    with file.open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "task 1" in taken("task 2", 6)


@pytest.fixture
def at_work(file: Path) -> Iterator[Begin]:
    """Lets a process of a holder work on the host, for a time."""
    made = []

    def begin(holder: str, seconds: float = 60) -> subprocess.Popen[str]:
        script = f"""
import sys, time
from ansible_collections.tidegate.deploy.plugins.module_utils.environment import host_lock
host_lock.path = lambda: {str(file)!r}
with host_lock.held({holder!r}, 5):
    print("works", flush=True)
    time.sleep({seconds})
"""
        process = subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(one for one in sys.path if one)},
        )  # fmt: skip
        made.append(process)
        assert process.stdout is not None and process.stdout.readline() == "works\n"
        return process

    yield begin
    for process in made:
        process.kill()
        process.communicate()


def test_who_lost_its_connection_waits_for_its_own_step_and_for_nobody_else_s(at_work: Begin) -> None:
    at_work("task 1", 1)
    began = time.monotonic()
    with host_lock.held("task 1", 5, 30):
        assert 0.2 < time.monotonic() - began < 20
    assert host_lock.release("task 1")
    at_work("task 2")
    began = time.monotonic()
    for holder, seconds in (("task 1", 30), ("task 2", 1)):
        with pytest.raises(ReleaseError, match="task 2 works on it"), host_lock.held(holder, 6, seconds):
            pass
    assert time.monotonic() - began < 10


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
