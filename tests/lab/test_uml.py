# SPDX-License-Identifier: Apache-2.0
"""The bridge of user-mode Linux guests: a run that was killed leaves its own behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.lab import uml
from tests.lab.command import run

pytestmark = [pytest.mark.lab, pytest.mark.xdist_group("lab-uml"), pytest.mark.timeout(300)]
ROOT = Path(__file__).parents[2]
# A run with a guest: the stand-in sleeps as a guest's process would, under the name that guests have.
KILLED = """
import subprocess, sys, time
from tests.lab import uml
from tests.lab.command import run
with uml.guests("left-over") as made:
    run(["ip", "tuntap", "add", f"{made.bridge}-0", "mode", "tap"])
    run(["ip", "link", "set", f"{made.bridge}-0", "master", made.bridge, "up"])
    sleep = "import time; time.sleep(300)"
    subprocess.Popen([sys.executable, "-c", sleep, f"umid={made.bridge}-0"], start_new_session=True)
    print(made.bridge, flush=True)
    time.sleep(300)
"""


def links(bridge: str) -> list[str]:
    return [name for name in os.listdir("/sys/class/net") if name.startswith(bridge)]


def guests_of(bridge: str) -> list[str]:
    return run(["pgrep", "-f", f"umid={bridge}-[0-9]"], check=False).stdout.split()


def test_what_a_killed_run_left_is_taken_away_by_the_next() -> None:
    if missing := uml.why_not():
        pytest.skip(missing)
    first = subprocess.Popen([sys.executable, "-c", KILLED], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None
    bridge = first.stdout.readline().strip()
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert sorted(links(bridge)) == [bridge, f"{bridge}-0"]
    # What a process is called can be asked a moment after it began.
    until = time.monotonic() + 10
    while not guests_of(bridge):
        assert time.monotonic() < until, "the guest ended with the run"
        time.sleep(0.05)

    with uml.guests("left-over") as made:
        assert made.bridge == bridge
        assert links(bridge) == [bridge]
        assert guests_of(bridge) == []

    assert links(bridge) == []
