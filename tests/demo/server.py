# SPDX-License-Identifier: Apache-2.0
"""A Tidegate server as a process: made with `tidegate init`, run with `tidegate serve`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx

READY_SECONDS = 60
STOP_SECONDS = 30


def initialise(home: Path, command: str | None = None) -> str:
    """Make an installation and return its administrator's token."""
    made = subprocess.run(
        [*_tidegate(command), "init", "--home", str(home), "--json"],
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        raise RuntimeError(f"tidegate init: {made.stderr[-2000:]}")
    return str(json.loads(made.stdout)["token"])


def start(home: Path, address: str, command: str | None = None) -> subprocess.Popen[bytes]:
    """Start the server in a session of its own, so that it outlives this terminal; return once it is ready."""
    log = home / "server.log"
    with log.open("ab") as opened:
        process = subprocess.Popen(
            [*_tidegate(command), "serve", "--home", str(home), "--listen", address],
            env=_environment(),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=opened,
            stderr=opened,
            start_new_session=True,
        )
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            if httpx.get(f"http://{address}/readyz", timeout=5).status_code == 200:
                return process
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    if process.poll() is None:
        stop(process.pid)
    raise RuntimeError(f"the server did not become ready: {log.read_text(errors='replace')[-3000:]}")


def start_worker(home: Path) -> subprocess.Popen[bytes]:
    """Start a worker beside the server; what is queued meanwhile waits for it."""
    with (home / "worker.log").open("ab") as opened:
        return subprocess.Popen(
            [*command(), "worker", "--home", str(home)],
            env=_environment(),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=opened,
            stderr=opened,
            start_new_session=True,
        )


def command() -> list[str]:
    """Return the tidegate command of the environment that runs this."""
    return _tidegate(None)


def stop(pid: int) -> None:
    """End a server by its process id, with what it started, and wait until it is gone."""
    until = time.monotonic() + STOP_SECONDS
    number = signal.SIGTERM
    while _is_running(pid):
        os.kill(pid, number)
        pause = time.monotonic() + 5
        while _is_running(pid) and time.monotonic() < pause:
            time.sleep(0.1)
        if time.monotonic() > until:
            number = signal.SIGKILL


def _is_running(pid: int) -> bool:
    try:
        # One that is our own child stays a zombie until it is waited for.
        if os.waitpid(pid, os.WNOHANG)[0] == pid:
            return False
    except ChildProcessError:
        pass
    return Path(f"/proc/{pid}").exists()


def _tidegate(command: str | None) -> list[str]:
    return [command or str(Path(sys.executable).parent / "tidegate")]


def _environment() -> dict[str, str]:
    """Return an environment without settings of whoever runs this."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TIDEGATE_")}
