# SPDX-License-Identifier: Apache-2.0
"""`python -m tests.demo up|down`: what `make demo` and `make demo-down` run."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from controlplane.cli import progress
from tests.lab import Lab

from . import server
from .walk import ANOTHER_RELEASE, Walked, walk

STATE = Path(__file__).resolve().parents[2] / ".demo"
ADDRESS = os.environ.get("TIDEGATE_DEMO_LISTEN", "127.0.0.1:8080")
LAB = "demo"

console = Console(markup=False, highlight=False, emoji=False, soft_wrap=True)


class Printed:
    """Prints the walk as it goes."""

    def chapter(self, title: str) -> None:
        """Print a heading."""
        console.print()
        console.print(Text(f"== {title}", style="bold"))

    def fact(self, text: str) -> None:
        """Print a line."""
        console.print(Text(f"   {text}"))

    def event(self, event: dict[str, Any]) -> None:
        """Print an event of a timeline."""
        console.print(Text("   ").append_text(progress.line(event)))


def up() -> None:
    """Make what the demo needs, walk, and leave the server running."""
    if STATE.exists():
        sys.exit("there is a demo already: `make demo-down` removes it")
    _check_address()
    begun = time.monotonic()
    STATE.mkdir(mode=0o700)
    told = Printed()
    told.chapter("A lab host: systemd, sshd, Docker, Compose 2")
    lab = Lab(LAB)
    lab.up()
    host = lab.host("demo")
    told.fact(f"`{host.name}` at {host.address}")
    told.chapter(f"The control plane on {ADDRESS}, with SQLite")
    token = server.initialise(STATE / "home")
    process = server.start(STATE / "home", ADDRESS)
    (STATE / "server.json").write_text(json.dumps({"pid": process.pid, "started": _started(process.pid)}))
    told.fact(f"process {process.pid}, its log is .demo/home/server.log")
    walked = walk(
        f"http://{ADDRESS}",
        token,
        host,
        lambda version, healthy: lab.app_archive(version, healthy=healthy),
        told,
    )
    _farewell(walked, time.monotonic() - begun)


def down() -> None:
    """End the server, take the lab down, remove the state. Nothing happens where there is nothing."""
    kept = STATE / "server.json"
    if kept.exists():
        known = json.loads(kept.read_text())
        # A process id is used again by others after a reboot: the time it started tells them apart.
        if _started(known["pid"]) == known["started"]:
            server.stop(known["pid"])
    Lab(LAB).down()
    shutil.rmtree(STATE, ignore_errors=True)
    console.print("the demo is removed")


def _started(pid: int) -> str | None:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (FileNotFoundError, ProcessLookupError):
        return None


def _check_address() -> None:
    host, _, port = ADDRESS.rpartition(":")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError as error:
            sys.exit(
                f"{ADDRESS}: {error.strerror}; TIDEGATE_DEMO_LISTEN=127.0.0.1:9090 make demo takes another port"
            )


def _farewell(walked: Walked, seconds: float) -> None:
    told = Printed()
    told.chapter(f"Done in {seconds:.0f} s. The server is running; try next:")
    told.fact(f"http://{ADDRESS}/api/v1/docs")
    told.fact(f"export TIDEGATE_URL=http://{ADDRESS}")
    told.fact(f"export TIDEGATE_TOKEN={walked.requester.token}   # requester")
    told.fact(f"#      TIDEGATE_TOKEN={walked.approver.token}   # approver")
    told.fact(".venv/bin/tidegate release list")
    told.fact(f".venv/bin/tidegate release timeline {walked.releases['v3']['release_id']}")
    told.fact(f".venv/bin/tidegate {' '.join(ANOTHER_RELEASE)}")
    told.fact("make demo-down")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["up"]:
            up()
        case ["down"]:
            down()
        case _:
            sys.exit("usage: python -m tests.demo up|down")
