# SPDX-License-Identifier: Apache-2.0
"""A server's worker: another takes its place when it dies, none is left when the server ends, however it ends."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.bench.installation import served

SOON_SECONDS = 20.0


@pytest.fixture
def pid(tmp_path: Path) -> Iterator[int]:
    """The process of a server."""
    with served(tmp_path / "home") as (_admin, process):
        yield process.pid


def test_a_worker_that_dies_is_followed_by_another_and_ends_with_the_server(pid: int) -> None:
    (keeper,) = children(pid)
    for _ in range(2):
        worker = the_worker(keeper)
        os.kill(worker, signal.SIGKILL)
        eventually(lambda gone=worker: children(keeper) not in ([], [gone]))
        assert children(pid) == [keeper]
    worker = the_worker(keeper)
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: not alive(pid) and not alive(keeper) and not alive(worker))


def test_a_server_that_is_killed_leaves_neither_worker_nor_keeper(pid: int) -> None:
    (keeper,) = children(pid)
    worker = the_worker(keeper)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not alive(keeper) and not alive(worker))


def test_what_waits_for_a_worker_is_small_and_gives_the_settings_to_nobody(pid: int) -> None:
    (keeper,) = children(pid)
    worker = the_worker(keeper)
    eventually(lambda: b"waiter.py" in Path(f"/proc/{keeper}/cmdline").read_bytes())
    eventually(lambda: private_kb(keeper) < 8_000)
    assert "settings" in opened(keeper)
    eventually(lambda: bool(children(worker)))
    assert not [one for one in children(worker) if "settings" in opened(one)]


def the_worker(keeper: int) -> int:
    """Return the worker that a keeper keeps, once it is there."""
    eventually(lambda: bool(children(keeper)))
    (worker,) = children(keeper)
    return worker


def children(pid: int) -> list[int]:
    """Return the processes that one has started and that live."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def opened(pid: int) -> str:
    """Return the names of the files that a process has open."""
    return " ".join(os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir())


def private_kb(pid: int) -> int:
    """Return the memory that a process shares with no other, in kB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


def alive(pid: int) -> bool:
    """Say whether a process is there and is no corpse that waits for its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def eventually(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    until = time.monotonic() + SOON_SECONDS
    while not holds():
        assert time.monotonic() < until, "it does not come true"
        time.sleep(0.1)
