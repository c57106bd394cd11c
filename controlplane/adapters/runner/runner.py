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
from controlplane.adapters.runner.events import from_fields
from controlplane.adapters.runner.processes import kill_run
from controlplane.ports.runner import PlaybookRun, RunEvent, RunOutcome

LOOK_SECONDS = 0.25
ASK_SECONDS = 0.5
# A supervisor that was told to stop and has not ended by then is killed with all it started.
STOP_SECONDS = 15.0
# How long a zygote may import and fork, on a machine that has much else to do.
START_SECONDS = 60.0

_OnEvents = Callable[[Sequence[RunEvent]], None]


class AnsibleRunner:
    """Runs playbooks of the automation side; each run in a folder of its own under `run_dir`.

    `home` has `playbooks`, `roles`, `collections` and `ansible.cfg`; by default what `automation_home` finds.

    Raises:
        ValueError: ssh cannot work with the path of `run_dir`.
        PermissionError: `run_dir` is there and others can reach into it.
        FileNotFoundError: there is no automation side.
    """

    def __init__(self, run_dir: Path, home: Path | None = None) -> None:
        self._home = home or automation.automation_home()
        self._folders = private_data.RunFolders(run_dir)
        self._starting = threading.Lock()
        self._zygote: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._start()

    def run(self, run: PlaybookRun, on_events: _OnEvents, should_stop: Callable[[], bool]) -> RunOutcome:
        """See `ports.runner.Runner`. What `on_events` and `should_stop` raise ends the run and is raised here.

        Raises:
            Problem: `validation_error` or `host_key_unconfirmed`; nothing was started.
            OSError: no room for the run's files, or no process to be had.
        """
        folder = self._folders.make()
        try:
            secrets = private_data.fill(folder, run)
            environment = automation.environment(self._home, folder)
            if not private_data.keeps_connections(folder):
                environment["ANSIBLE_SSH_ARGS"] = "-o ControlMaster=no -o ServerAliveInterval=10"
            request = {
                "folder": str(folder),
                "playbook": str(self._home / "playbooks" / run.playbook),
                "environment": environment,
                "secrets": secrets,
            }
            return self._supervised(folder, request, run.timeout, on_events, should_stop)
        finally:
            kill_run(str(folder))
            shutil.rmtree(folder, ignore_errors=True)

    def _supervised(
        self,
        folder: Path,
        request: dict[str, Any],
        timeout: float,
        on_events: _OnEvents,
        should_stop: Callable[[], bool],
    ) -> RunOutcome:
        channel = self._fork()
        patience = _Patience(timeout, should_stop)
        try:
            channel.send(request)
            while True:
                try:
                    message = channel.receive(LOOK_SECONDS)
                except TimeoutError:
                    message = {}
                if "events" in message:
                    on_events([from_fields(values) for values in message["events"]])
                if "end" in message:
                    end = message["end"]
                    status = patience.word if end["status"] == "canceled" else end["status"]
                    return RunOutcome(status, end["rc"], private_data.read_results(folder), end["message"])
                if patience.has_just_ended():
                    channel.send({"stop": True})
                elif patience.is_spent():
                    results = private_data.read_results(folder)
                    return RunOutcome(patience.word, 254, results, "it did not stop and was killed")
        except (EOFError, BrokenPipeError, ConnectionResetError):
            results = private_data.read_results(folder)
            return RunOutcome("error", 254, results, "the process that supervised the run was lost")
        finally:
            channel.close()

    def _fork(self) -> Channel:
        """Return the channel to a new supervisor; a zygote that died is started again.

        Raises:
            OSError: a new zygote gives none either.
        """
        with self._starting:
            if self._zygote is not None:
                try:
                    return self._asked_for()
                except (OSError, EOFError):
                    # It was killed. Its other runs go on: each is bound to this process, not to the zygote.
                    pass
            self._start()
            try:
                return self._asked_for()
            except EOFError as error:
                raise OSError("the process that starts runs does not start") from error

    def _asked_for(self) -> Channel:
        assert self._control is not None
        ours, theirs = socket.socketpair()
        channel = Channel(ours)
        try:
            with theirs:
                socket.send_fds(self._control, [b"f"], [theirs.fileno()])
            channel.receive(START_SECONDS)
        except BaseException:
            channel.close()
            raise
        return channel

    def _start(self) -> None:
        self._end_zygote()
        control, theirs = socket.socketpair()
        with theirs:
            root = str(Path(automation.__file__).resolve().parents[3])
            path = os.pathsep.join(part for part in (root, os.environ.get("PYTHONPATH")) if part)
            module = "controlplane.adapters.runner.zygote"
            self._zygote = subprocess.Popen(
                [sys.executable, "-m", module, str(theirs.fileno()), str(self._folders.path)],
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
                self._zygote.wait(timeout=10)
            if self._zygote.poll() is None:
                self._zygote.kill()
                self._zygote.wait()
            self._zygote = None

    def close(self) -> None:
        """End the zygote, with it all runs there still are, and remove the run folders."""
        with self._starting:
            self._end_zygote()
        self._folders.close()


class _Patience:
    """When a run is to be stopped, with which word, and when stopping it took too long."""

    def __init__(self, timeout: float, should_stop: Callable[[], bool]) -> None:
        self.word = "canceled"
        self._should_stop = should_stop
        self._until = time.monotonic() + timeout
        self._asked_at = 0.0
        self._ended_at: float | None = None

    def has_just_ended(self) -> bool:
        """Say, once, that the run is to be stopped."""
        now = time.monotonic()
        if self._ended_at is not None:
            return False
        if now > self._until:
            self.word, self._ended_at = "timeout", now
            return True
        if now - self._asked_at >= ASK_SECONDS:
            self._asked_at = now
            if self._should_stop():
                self._ended_at = now
                return True
        return False

    def is_spent(self) -> bool:
        """Say that it was to stop long ago."""
        return self._ended_at is not None and time.monotonic() - self._ended_at > STOP_SECONDS
