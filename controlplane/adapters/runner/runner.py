# SPDX-License-Identifier: Apache-2.0
"""`ports.runner.Runner` through ansible-runner. See `zygote` and `supervisor` for the processes."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from controlplane.adapters.runner import automation, private_data
from controlplane.adapters.runner.channel import Channel
from controlplane.adapters.runner.processes import kill_marked
from controlplane.ports.runner import PlaybookRun, RunEvent, RunOutcome

LOOK_SECONDS = 0.25
# A supervisor that was told to stop and has not ended by then is killed with all it started.
STOP_SECONDS = 15.0


class AnsibleRunner:
    """Runs playbooks of the automation side; each run in a folder of its own under `run_dir`."""

    def __init__(self, run_dir: Path, home: Path | None = None) -> None:
        self._home = home or automation.automation_home()
        self._folders = private_data.RunFolders(run_dir)
        self._starting = threading.Lock()
        self._zygote: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._start()

    def run(
        self,
        run: PlaybookRun,
        on_events: Callable[[Sequence[RunEvent]], None],
        should_stop: Callable[[], bool],
    ) -> RunOutcome:
        """See `ports.runner.Runner`."""
        folder = self._folders.make()
        try:
            secrets = private_data.fill(folder, run)
            request = {
                "folder": str(folder),
                "playbook": str(self._home / "playbooks" / run.playbook),
                "environment": {**automation.environment(self._home, folder), **secrets},
            }
            return self._supervised(folder, request, run.timeout, on_events, should_stop)
        finally:
            kill_marked(str(folder))
            shutil.rmtree(folder, ignore_errors=True)

    def _supervised(
        self,
        folder: Path,
        request: dict[str, Any],
        timeout: float,
        on_events: Callable[[Sequence[RunEvent]], None],
        should_stop: Callable[[], bool],
    ) -> RunOutcome:
        channel = Channel(self._fork())
        until = time.monotonic() + timeout
        told_at, why = 0.0, ""
        try:
            channel.send(request)
            while True:
                try:
                    message = channel.receive(LOOK_SECONDS)
                except TimeoutError:
                    message = {}
                if "events" in message:
                    on_events([RunEvent(**event) for event in message["events"]])
                if "end" in message:
                    end = message["end"]
                    return RunOutcome(
                        why or end["status"], end["rc"], private_data.read_results(folder), end["message"]
                    )
                now = time.monotonic()
                if not why and (now > until or should_stop()):
                    why, told_at = ("timeout" if now > until else "canceled"), now
                    channel.send({"stop": True})
                elif why and now - told_at > STOP_SECONDS:
                    return RunOutcome(why, 254, private_data.read_results(folder), "it had to be killed")
        except (EOFError, OSError):
            results = private_data.read_results(folder)
            return RunOutcome(why or "error", 254, results, "the supervisor of the run was lost")
        finally:
            channel.close()

    def _fork(self) -> socket.socket:
        """Return our end of the socket of a new supervisor; a zygote that died is started again."""
        ours, theirs = socket.socketpair()
        with theirs, self._starting:
            for attempt in (1, 2):
                try:
                    if self._control is None:
                        raise OSError("not started")
                    socket.send_fds(self._control, [b"f"], [theirs.fileno()])
                    return ours
                except OSError:
                    if attempt == 2:
                        ours.close()
                        raise
                    self._start()
        raise AssertionError

    def _start(self) -> None:
        self._end_zygote()
        control, theirs = socket.socketpair()
        with theirs:
            root = str(Path(automation.__file__).resolve().parents[3])
            path = os.pathsep.join(part for part in (root, os.environ.get("PYTHONPATH")) if part)
            self._zygote = subprocess.Popen(
                [sys.executable, "-m", "controlplane.adapters.runner.zygote", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": path},
            )
        self._control = control

    def _end_zygote(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._zygote is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._zygote.wait(timeout=2)
            if self._zygote.poll() is None:
                self._zygote.kill()
                self._zygote.wait()

    def close(self) -> None:
        """End the zygote and remove the run folders."""
        self._end_zygote()
        self._folders.close()
