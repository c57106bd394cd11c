# SPDX-License-Identifier: Apache-2.0
"""However a run ends, and whoever is killed: nothing of it goes on, nothing of it is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from controlplane.adapters.runner import processes
from controlplane.ports.runner import RunOutcome
from tests.runner.conftest import Bench, until, write_play

# The task's own child clears its environment and leaves its session: it is still to be found.
FOREVER = "- ansible.builtin.command: env -i setsid /bin/sleep 987654"
WORKER = """
import sys
from pathlib import Path
from controlplane.adapters.runner.runner import AnsibleRunner
from controlplane.ports.runner import PlaybookRun, RunHost
from tests.runner.conftest import HERE
runner = AnsibleRunner(Path(sys.argv[1]), Path(sys.argv[2]))
outcome = runner.run(PlaybookRun("j", "play.yml", (RunHost("here", HERE),)), lambda batch: None, lambda: False)
print(outcome.status)
"""
ROOT = Path(__file__).resolve().parents[2]

# They look for the sleepers of this machine, and kill them: one test of these at a time.
pytestmark = pytest.mark.xdist_group("runner-endings")


def sleepers() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and "987654" in _told(name)]


def _told(pid: str) -> str:
    try:
        told = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    return told[-2].decode("utf-8", "replace") if len(told) > 1 and told[0].endswith(b"sleep") else ""


def supervisors(zygote: int) -> list[int]:
    """The forks of the zygote that have begun their work."""
    return [pid for pid in processes.descendants(zygote) if _parent(pid) == zygote]


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


class Going:
    """A run that goes on for ever, in a thread."""

    def __init__(self, bench: Bench, **rest: object) -> None:
        self.bench = bench
        self.outcome: RunOutcome | None = None
        self.thread = threading.Thread(target=self._run, kwargs=rest)
        self.thread.start()
        until(sleepers)

    def _run(self, **rest: object) -> None:
        self.outcome = self.bench.play(FOREVER, **rest)  # type: ignore[arg-type]

    @property
    def zygote(self) -> int:
        assert self.bench.runner._zygote is not None
        return self.bench.runner._zygote.pid

    def end(self, seconds: float = 5.0) -> RunOutcome:
        self.thread.join(seconds)
        assert not self.thread.is_alive() and self.outcome is not None
        return self.outcome


def test_a_run_that_is_to_stop_is_cancelled(bench: Bench) -> None:
    stop = threading.Event()
    going = Going(bench, should_stop=stop.is_set)
    stop.set()
    assert going.end().status == "canceled"
    assert sleepers() == [] and bench.left() == []


def test_a_run_that_takes_too_long_times_out(bench: Bench) -> None:
    began = time.monotonic()
    assert bench.play(FOREVER, timeout=3.0).status == "timeout"
    assert time.monotonic() - began < 8
    assert sleepers() == [] and bench.left() == []


def test_no_process_outlives_a_killed_worker(home: Path, run_dir: Path) -> None:
    write_play(home, FOREVER)
    worker = subprocess.Popen([sys.executable, "-c", WORKER, str(run_dir), str(home)], cwd=ROOT)
    until(sleepers)
    assert processes.of_run(str(run_dir)) != []
    worker.kill()
    worker.wait()
    until(lambda: not sleepers() and not processes.of_run(str(run_dir)), 2.0)
    until(lambda: list(run_dir.iterdir()) == [], 2.0)


def test_no_process_outlives_a_worker_killed_with_its_supervisor(home: Path, run_dir: Path) -> None:
    write_play(home, FOREVER.replace("env -i ", ""))
    worker = subprocess.Popen([sys.executable, "-c", WORKER, str(run_dir), str(home)], cwd=ROOT)
    until(sleepers)
    (zygote,) = [pid for pid in processes.descendants(worker.pid) if _parent(pid) == worker.pid]
    for pid in (*supervisors(zygote), worker.pid):
        os.kill(pid, signal.SIGKILL)
    worker.wait()
    until(lambda: not sleepers() and not processes.of_run(str(run_dir)), 2.0)
    until(lambda: list(run_dir.iterdir()) == [], 2.0)


def test_a_worker_that_starts_ends_what_a_dead_one_left(home: Path, run_dir: Path) -> None:
    write_play(home, FOREVER.replace("env -i ", ""))
    worker = subprocess.Popen([sys.executable, "-c", WORKER, str(run_dir), str(home)], cwd=ROOT)
    until(sleepers)
    (zygote,) = [pid for pid in processes.descendants(worker.pid) if _parent(pid) == worker.pid]
    for pid in (zygote, *supervisors(zygote), worker.pid):
        os.kill(pid, signal.SIGKILL)
    worker.wait()
    again = [
        sys.executable,
        "-c",
        WORKER.partition("outcome =")[0] + "runner.close()",
        str(run_dir),
        str(home),
    ]
    subprocess.run(again, cwd=ROOT, check=True)
    until(lambda: not sleepers() and not run_dir.exists(), 3.0)


def test_a_killed_supervisor_takes_its_run_along(bench: Bench) -> None:
    going = Going(bench)
    (supervisor,) = supervisors(going.zygote)
    os.kill(supervisor, signal.SIGKILL)
    assert going.end().status == "error"
    assert "lost" in going.outcome.message  # type: ignore[union-attr]
    until(lambda: not processes.of_run(str(bench.run_dir)), 2.0)
    assert bench.play("- ansible.builtin.debug:").status == "successful"
    for pid in sleepers():
        # It cleared its environment and its adopter was killed: out of reach, and a deed of the test's own.
        os.kill(pid, signal.SIGKILL)


def test_a_killed_zygote_is_replaced_and_its_runs_go_on(bench: Bench) -> None:
    stop = threading.Event()
    going = Going(bench, should_stop=stop.is_set)
    os.kill(going.zygote, signal.SIGKILL)
    seen = len(bench.events)
    assert bench.play("- ansible.builtin.debug:").status == "successful"
    assert len(bench.events) > seen and going.thread.is_alive()
    stop.set()
    assert going.end().status == "canceled"
    assert sleepers() == []


def test_a_closed_runner_ends_what_runs(bench: Bench) -> None:
    going = Going(bench)
    bench.runner.close()
    assert going.end().status == "error"
    assert sleepers() == []


@pytest.mark.slow
def test_two_hundred_megabytes_of_output_stay_out_of_memory(bench: Bench) -> None:
    write_play(
        bench.home,
        "- ansible.builtin.debug: {msg: \"{{ 'x' * 4000000 }}\"}\n"
        "  loop: \"{{ range(50) | list }}\"\n  loop_control: {label: ''}",
        "loud.yml",
    )
    outcome: list[RunOutcome] = []
    thread = threading.Thread(target=lambda: outcome.append(bench.run("loud.yml")))
    thread.start()
    assert bench.runner._zygote is not None
    zygote, most = bench.runner._zygote.pid, 0
    while thread.is_alive():
        most = max([most, *(_resident(pid) for pid in supervisors(zygote))])
        time.sleep(0.05)
    assert outcome[0].status == "successful"
    assert sum(event.kind == "runner_item_on_ok" for event in bench.events) == 50
    assert 0 < most < 120_000, f"{most} kB"


def _resident(pid: int) -> int:
    try:
        told = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return int(told.partition("VmRSS:")[2].split()[0]) if "VmRSS:" in told else 0
