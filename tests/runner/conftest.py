# SPDX-License-Identifier: Apache-2.0
"""A runner with playbooks of the test's own, run by the real Ansible on this machine."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from controlplane.adapters.runner import processes
from controlplane.adapters.runner.automation import automation_home
from controlplane.adapters.runner.runner import AnsibleRunner
from controlplane.ports.probe import SshAccess
from controlplane.ports.runner import PlaybookRun, RunEvent, RunHost, RunOutcome

HERE = SshAccess("127.0.0.1", 22, "root", host_key="ssh-ed25519 AAAA")


@dataclass
class Bench:
    """A runner, its playbooks (`home`) and its run folders (`run_dir`)."""

    home: Path
    run_dir: Path
    runner: AnsibleRunner
    events: list[RunEvent] = field(default_factory=list)
    batches: list[tuple[float, int]] = field(default_factory=list)

    def play(self, tasks: str, **rest: Any) -> RunOutcome:
        """Run these tasks (YAML) on one host that is this machine."""
        return self.run(write_play(self.home, tasks), **rest)

    def run(
        self,
        playbook: str,
        *,
        hosts: tuple[RunHost, ...] = (RunHost("here", HERE),),
        should_stop: Callable[[], bool] = lambda: False,
        **rest: Any,
    ) -> RunOutcome:
        return self.runner.run(PlaybookRun("job_x", playbook, hosts, **rest), self.take, should_stop)

    def take(self, batch: Any) -> None:
        self.batches.append((time.monotonic(), len(batch)))
        self.events.extend(batch)

    def left(self) -> list[Path]:
        """The files that runs left behind."""
        return [path for path in self.run_dir.rglob("*") if not path.is_dir()]


def write_play(home: Path, tasks: str, name: str = "play.yml") -> str:
    body = "".join(f"    {line}\n" for line in tasks.strip().splitlines())
    play = f"- hosts: release_hosts\n  gather_facts: false\n  connection: local\n  tasks:\n{body}"
    (home / "playbooks" / name).write_text(play)
    return name


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "playbooks").mkdir()
    shutil.copy(automation_home() / "ansible.cfg", tmp_path)
    return tmp_path


@pytest.fixture
def run_dir() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tidegate-test-", dir="/dev/shm") as folder:
        yield Path(folder)
        assert processes.of_run(folder) == [], "processes of a run are left"


@pytest.fixture
def bench(home: Path, run_dir: Path) -> Iterator[Bench]:
    runner = AnsibleRunner(run_dir, home)
    yield Bench(home, run_dir, runner)
    runner.close()
    assert not run_dir.exists()


def until(is_so: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Wait until something is so and return it; fail when it takes longer."""
    end = time.monotonic() + seconds
    while not (found := is_so()):
        assert time.monotonic() < end, "it did not come to be"
        time.sleep(0.02)
    return found
