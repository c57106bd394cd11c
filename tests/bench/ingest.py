# SPDX-License-Identifier: Apache-2.0
"""50,000 events of a run: on their way to the worker and into the database, and as ansible-runner writes them.

Two figures, since they say different things: what Ansible's own process is held up by, and how long it takes until the
last event is a committed row, which a second process works on meanwhile.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import statistics
import tempfile
import threading
import time
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_runner.runner import Runner
from sqlalchemy import func, select

from controlplane.adapters.runner.channel import Channel
from controlplane.adapters.runner.events import from_fields
from controlplane.adapters.runner.supervisor import Supervisor
from controlplane.ports.runner import RunEvent
from controlplane.services import releases
from controlplane.services.job_kinds import KINDS
from controlplane.store.tables import JobLog
from tests.bench.figure import Figure
from tests.services import installation
from tests.services.test_releases import previewed

EVENTS = 50_000
READY = b"r"


@dataclass(frozen=True)
class Call:
    """One event's way through ansible-runner's own entry, and what of it is ours.

    `was_preempted`: the kernel gave the core of a thread of this process to somebody else while ours was at work, which
    is the machine's doing. Waiting for a lock, another thread or a full socket is none (getrusage(2), ru_nivcsw).
    """

    seconds: float
    added: float
    was_preempted: bool


def measure(folder: Path) -> list[Figure]:
    """Return the whole time that events take, and the most that any of them was held up."""
    totals: dict[str, list[float]] = {"ours": [], "files": [], "files_whole": [], "committed": []}
    added: list[float] = []
    _files(folder, 1000)
    _through_supervisor(folder, 1000)
    for _ in range(3):
        began = time.perf_counter()
        totals["files"].append(sum(call.seconds for call in _files(folder, EVENTS)))
        totals["files_whole"].append(time.perf_counter() - began)
        calls = _through_supervisor(folder, EVENTS)
        totals["ours"].append(sum(call.seconds for call in calls))
        added.append(max(call.added for call in calls if not call.was_preempted))
        totals["committed"].append(_committed(folder, EVENTS))
    return [
        Figure(
            f"ingest of {EVENTS} runner events, in Ansible's process",
            statistics.median(totals["ours"]),
            "s",
            1.0,
            "ansible-runner's own writing to job_events",
            statistics.median(totals["files"]),
        ),
        Figure(
            f"{EVENTS} runner events from the first one until the last is a committed row",
            statistics.median(totals["committed"]),
            "s",
            1.0,
            "until the last is a file of job_events",
            statistics.median(totals["files_whole"]),
        ),
        Figure("most added to any event while the kernel left us the core", max(added) * 1000, "ms", 5.0),
    ]


def _files(folder: Path, count: int) -> list[Call]:
    return _drive(folder, None, count)


def _through_supervisor(folder: Path, count: int) -> list[Call]:
    """Send events the way a run does, to a process that takes them in."""
    return _sent(folder, count, _receive)[0]


def _committed(folder: Path, count: int) -> float:
    """Return the seconds from the first event until the worker has committed the last."""
    return _sent(folder, count, _record)[1]


def _sent(folder: Path, count: int, receive: Callable[[Channel, int], bool]) -> tuple[list[Call], float]:
    """Return each call, and the seconds until the process that takes the events in says that it has all."""
    near, far = socket.socketpair()
    receiver = os.fork()
    if receiver == 0:
        near.close()
        status = 1
        try:
            status = 0 if receive(Channel(far), count) else 1
        finally:
            os._exit(status)
    far.close()
    # It has made ready what it needs: that is no part of taking events in.
    assert near.recv(1) == READY
    began = time.perf_counter()
    supervisor = Supervisor(Channel(near), {"folder": "/nonexistent", "environment": {}, "secrets": {}})
    sender = threading.Thread(target=supervisor._send)
    sender.start()
    taken = _drive(folder, supervisor._take, count)
    supervisor._outbox.close()
    sender.join()
    assert near.recv(1) == READY, "not every event was taken in"
    seconds = time.perf_counter() - began
    _pid, status = os.waitpid(receiver, 0)
    near.close()
    assert status == 0, "not every event arrived"
    return taken, seconds


def _receive(channel: Channel, count: int) -> bool:
    return _taken_in(channel, count, lambda _events: None) == count


def _record(channel: Channel, count: int) -> bool:
    """Write events as a worker does, in the transactions of the job that applies a release, on SQLite."""
    with tempfile.TemporaryDirectory() as folder:
        shop = installation.make(f"sqlite:///{folder}/tidegate.db", Path(folder))
        release = previewed(shop)
        releases.apply(shop.core, shop.releaser, release["preview_ref"], {})
        lease = shop.claim()
        assert lease is not None
        job = KINDS[lease.kind](shop.core, lease)
        assert job.begin() is not None
        _taken_in(channel, count, job.record)
        with shop.core.database.read() as session:
            return session.scalar(select(func.count()).select_from(JobLog)) == count


def _taken_in(channel: Channel, count: int, take: Callable[[Sequence[RunEvent]], None]) -> int:
    arrived = 0
    channel.socket.send(READY)
    while arrived < count:
        events = [from_fields(event) for event in channel.receive()["events"]]
        take(events)
        arrived += len(events)
    channel.socket.send(READY)
    return arrived


def _drive(folder: Path, handler: Callable[[dict[str, Any]], bool] | None, count: int) -> list[Call]:
    """Call ansible-runner's own entry for each event and return what each call took."""
    artifacts = Path(tempfile.mkdtemp(dir=folder))
    (artifacts / "job_events").mkdir()
    configuration = types.SimpleNamespace(
        artifact_dir=str(artifacts), ident="bench", check_job_event_data=False
    )
    ours = _Ours(handler) if handler else None
    runner = Runner(configuration, event_handler=ours)
    taken = []
    for number in range(count):
        partial = artifacts / "job_events" / f"u{number}-partial.json"
        partial.write_text(json.dumps(_event(number)))
        told = {
            "uuid": f"u{number}",
            "counter": number + 1,
            "stdout": "ok: [host]",
            "start_line": 0,
            "end_line": 1,
        }
        started = time.perf_counter()
        runner.event_callback(told)
        ended = time.perf_counter()
        added, was_preempted = (ours.seconds, ours.was_preempted) if ours else (0.0, False)
        taken.append(Call(ended - started, added, was_preempted))
    shutil.rmtree(artifacts)
    return taken


class _Ours:
    """A handler of events that tells how long it held the last one up."""

    def __init__(self, handler: Callable[[dict[str, Any]], bool]) -> None:
        self._handler = handler
        self.seconds = 0.0
        self.was_preempted = False

    def __call__(self, event: dict[str, Any]) -> bool:
        switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
        started = time.perf_counter()
        answer = self._handler(event)
        self.seconds = time.perf_counter() - started
        self.was_preempted = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw != switches
        return answer


def _event(number: int) -> dict[str, Any]:
    result = {"changed": True, "stdout": "x" * 300, "tidegate": {"n": number, "steps": [1, 2, 3]}}
    data = {
        "host": "host",
        "task": "task",
        "task_uuid": "uuid",
        "task_action": "ansible.builtin.command",
        "play": "play",
        "duration": 0.1,
        "res": {**result, "invocation": {"module_args": {"a": "b" * 200}}},
    }
    created = "2026-01-01T00:00:00+00:00"
    return {"event": "runner_on_ok", "uuid": f"u{number}", "created": created, "event_data": data}
