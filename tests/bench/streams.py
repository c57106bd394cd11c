# SPDX-License-Identifier: Apache-2.0
"""Reading a release while many streams of events are open, and while none is; events are written in both cases."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from controlplane.domain.permission import system_actor
from controlplane.services.core import Core
from controlplane.store import events
from tests.api.releases import add_release
from tests.bench.figure import Figure, percentile, seconds
from tests.bench.installation import core_of, served
from tests.demo.rest import Person

STREAMS = 200
REQUESTS = 250
ROUNDS = 3
# As a release tells of its steps.
EVENTS_A_SECOND = 4


def measure(folder: Path) -> list[Figure]:
    """Return the figure of the 95th percentile."""
    home = folder / "streams"
    with served(home) as (admin, _process):
        project_id = str(admin.post("/projects", {"name": "bench"})["id"])
        core = core_of(home)
        release_id = add_release(core, project_id, state="applying", status="running")
        alone: list[float] = []
        beside: list[float] = []
        with _events_are_written(core, release_id, project_id):
            _ask(admin, release_id)
            for _ in range(ROUNDS):
                alone += _ask(admin, release_id)
                with _streams_are_open(admin, release_id):
                    beside += _ask(admin, release_id)
        core.database.engine.dispose()
    return [
        Figure(
            f"p95 of GET release, {STREAMS} streams open",
            percentile(beside, 0.95) * 1000,
            "ms",
            2.0,
            "none open",
            percentile(alone, 0.95) * 1000,
        )
    ]


def _ask(admin: Person, release_id: str) -> list[float]:
    return [seconds(lambda: admin.get(f"/deploy/releases/{release_id}")) for _ in range(REQUESTS)]


@contextmanager
def _events_are_written(core: Core, release_id: str, project_id: str) -> Iterator[None]:
    over = threading.Event()
    step = events.NewEvent("release.step_succeeded", "release", release_id, project_id=project_id)

    def write() -> None:
        while not over.wait(1 / EVENTS_A_SECOND):
            with core.database.write() as session:
                events.append(session, system_actor("worker"), core.clock.now(), [step])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        over.set()
        writer.join()


@contextmanager
def _streams_are_open(admin: Person, release_id: str) -> Iterator[None]:
    """Open streams and read what comes; each has to have got at least one event by the end."""
    opened = [_open(admin, release_id) for _ in range(STREAMS)]
    heard = {stream.fileno(): 0 for stream in opened}
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            for stream in select.select(opened, [], [], 0.2)[0]:
                heard[stream.fileno()] += stream.recv(1 << 16).count(b"\ndata: {")

    reader = threading.Thread(target=read)
    reader.start()
    time.sleep(1)
    try:
        yield
    finally:
        over.set()
        reader.join()
        silent = sum(1 for number in heard.values() if not number)
        for stream in opened:
            stream.close()
        assert not silent, f"{silent} of {STREAMS} streams told nothing"


def _open(admin: Person, release_id: str) -> socket.socket:
    host, port = admin.address
    stream = socket.create_connection((host, port), timeout=10)
    lines = [
        f"GET /api/v1/deploy/releases/{release_id}/timeline/stream HTTP/1.1",
        f"Host: {host}",
        f"Authorization: Bearer {admin.token}",
    ]
    stream.sendall("\r\n".join([*lines, "", ""]).encode())
    return stream
