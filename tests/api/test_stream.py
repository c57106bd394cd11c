# SPDX-License-Identifier: Apache-2.0
"""Streams of a served process, while another process writes: each event once, in order, whatever is cut."""

from __future__ import annotations

import json
import random
import socket
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import httpx
import pytest

from controlplane.adapters import passwords
from controlplane.domain.permission import system_actor
from controlplane.services.core import Core
from controlplane.store import events
from controlplane.store.tables import Token, User
from tests.api.people import Caller, People
from tests.api.releases import add_release, end_release
from tests.api.server import served


@pytest.fixture
def url(core: Core) -> Iterator[str]:
    """A server of this installation in a process of its own; the tests write from theirs."""
    with served(core.settings.home) as address:
        yield address


def write(core: Core, count: int, release_id: str = "rel_a", project_id: str | None = None) -> None:
    """Write events as a worker would, a transaction each."""
    for number in range(count):
        with core.database.write() as session:
            step = events.NewEvent(
                "release.step_succeeded",
                "release",
                release_id,
                project_id=project_id,
                detail={"number": number},
            )
            events.append(session, system_actor("worker"), core.clock.now(), [step])


def read(
    url: str, caller: Caller, path: str, after: int | None = None, timeout: float = 10
) -> Iterator[dict[str, str]]:
    """Yield the frames of a stream: `{"id", "event", "data"}`."""
    headers = {"Authorization": f"Bearer {caller.token}"}
    if after is not None:
        headers["Last-Event-ID"] = str(after)
    with httpx.stream("GET", f"{url}/api/v1{path}", headers=headers, timeout=timeout) as response:
        assert response.status_code == 200, response.read()
        assert response.headers["Content-Type"].startswith("text/event-stream")
        frame: dict[str, str] = {}
        for line in response.iter_lines():
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                frame[name] = value
            elif not line and frame:
                if "data" in frame:
                    yield frame
                frame = {}


def test_a_reader_that_is_cut_off_again_and_again_sees_each_event_once_and_in_order(
    core: Core, admin: Caller, url: str
) -> None:
    writer = threading.Thread(target=write, args=(core, 600))
    writer.start()
    dice = random.Random(7)
    seen: list[int] = []
    while len(seen) < 600:
        after = seen[-1] if seen else 0
        for frame in islice(read(url, admin, "/events/stream", after), dice.choice([1, 2, 3, 17, 90])):
            seen.append(int(frame["id"]))
            if len(seen) == 600:
                break
    writer.join()
    assert seen == list(range(1, 601))


def test_many_readers_at_once_see_the_same(core: Core, admin: Caller, url: str) -> None:
    results: dict[int, list[int]] = {}

    def follow(number: int) -> None:
        frames = islice(read(url, admin, "/events/stream?after=0", timeout=30), 200)
        results[number] = [int(frame["id"]) for frame in frames]

    readers = [threading.Thread(target=follow, args=(number,)) for number in range(20)]
    for reader in readers:
        reader.start()
    write(core, 200)
    for reader in readers:
        reader.join()
    assert results == {number: list(range(1, 201)) for number in range(20)}


def test_a_release_stream_ends_with_the_release(core: Core, admin: Caller, people: People, url: str) -> None:
    release_id = add_release(core, people.project("shop"), state="applying", status="running")
    write(core, 3, "rel_other")
    write(core, 2, release_id)
    frames: list[dict[str, str]] = []
    reader = threading.Thread(
        target=lambda: frames.extend(read(url, admin, f"/deploy/releases/{release_id}/timeline/stream"))
    )
    reader.start()
    time.sleep(0.5)
    end_release(core, release_id)
    reader.join(10)
    assert not reader.is_alive()
    actions = [json.loads(frame["data"])["action"] for frame in frames[:-1]]
    assert actions == ["release.step_succeeded"] * 2 + ["release.applied"]
    assert frames[-1]["event"] == "end"
    assert json.loads(frames[-1]["data"]) == {
        "release_id": release_id, "lifecycle_state": "applied", "status": "applied",
    }  # fmt: skip
    again = list(
        read(url, admin, f"/deploy/releases/{release_id}/timeline/stream", after=int(frames[-2]["id"]))
    )
    assert [frame["event"] for frame in again] == ["end"]


def test_a_stream_shows_only_what_its_reader_may_see(core: Core, people: People, url: str) -> None:
    ours, theirs = people.project("ours"), people.project("theirs")
    viewer = people.add("viewer", "viewer", project=ours)
    stream = read(url, viewer, "/events/stream?after=0")
    write(core, 1, "rel_ours", ours)
    first = next(stream)
    write(core, 5, "rel_theirs", theirs)
    write(core, 1, "rel_ours", ours)
    second = next(stream)
    assert [json.loads(frame["data"])["project_id"] for frame in (first, second)] == [ours, ours]
    assert int(second["id"]) - int(first["id"]) == 6


def test_a_client_that_does_not_read_is_cut_off_and_holds_up_nobody(
    core: Core, admin: Caller, url: str
) -> None:
    host, port = url.removeprefix("http://").split(":")
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.connect((host, int(port)))
    deaf.sendall(
        f"GET /api/v1/events/stream?after=0 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {admin.token}\r\n\r\n".encode()
    )
    time.sleep(0.5)
    big = {"output_tail": "x" * 20_000}
    for _ in range(30):
        batch = [
            events.NewEvent("release.step_succeeded", "release", "rel_a", detail=big) for _ in range(100)
        ]
        with core.database.write() as session:
            events.append(session, system_actor("worker"), core.clock.now(), batch)
        started = time.monotonic()
        assert httpx.get(f"{url}/healthz", timeout=5).status_code == 200
        assert time.monotonic() - started < 3
    until = time.monotonic() + 10
    while "tidegate_event_streams 0.0" not in httpx.get(f"{url}/metrics").text:
        assert time.monotonic() < until, "the stream is still open"
        time.sleep(0.2)
    deaf.close()


def test_a_bad_last_event_id_is_refused(admin: Caller) -> None:
    for text in ("x", "-1", "9" * 30, "1.5"):
        answer = admin.send("GET", "/events/stream", headers={"Last-Event-ID": text})
        assert answer.status_code == 422
        assert "Last-Event-ID" in answer.json["errors"]


def test_stopping_the_server_ends_streams_at_once(core: Core, admin: Caller, tmp_path: Path) -> None:
    with served(core.settings.home) as url:
        stream = read(url, admin, "/events/stream?after=0")
        write(core, 1)
        next(stream)
        started = time.monotonic()
    assert time.monotonic() - started < 5
    with pytest.raises((StopIteration, httpx.TransportError)):
        next(stream)


def test_a_revoked_token_ends_its_stream(
    core: Core, admin: Caller, app: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controlplane.api.sse.HEARTBEAT_SECONDS", 0.2)
    answer = admin.get("/events/stream", after=0)
    frames = iter(answer.response)
    assert next(frames).startswith(b"retry")
    assert next(frames).startswith(b": still")
    with core.database.write() as session:
        session.get_one(Token, admin.token_id).revoked_at = core.clock.now()
    rest = list(islice(frames, 10))
    assert len(rest) < 10


@pytest.mark.parametrize("ending", ["another password", "disabled"])
def test_a_stream_of_somebody_with_a_password_goes_on_until_it_is_no_longer_good(
    core: Core, people: People, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    monkeypatch.setattr("controlplane.api.sse.HEARTBEAT_SECONDS", 0.1)
    reader = people.add("reader", "admin")
    with core.database.write() as session:
        session.get_one(User, reader.id).password_hash = passwords.hash_password("open sesame")
    basic = b64encode(b"reader:open sesame").decode()
    answer = reader.send("GET", "/events/stream?after=0", headers={"Authorization": f"Basic {basic}"})
    frames = iter(answer.response)
    assert next(frames).startswith(b"retry")
    assert [next(frames)[:7] for _ in range(8)] == [b": still"] * 8, "each but the first comes after a look"
    write(core, 1)
    assert b"release.step_succeeded" in next(frame for frame in frames if not frame.startswith(b":"))
    with core.database.write() as session:
        user = session.get_one(User, reader.id)
        if ending == "disabled":
            user.is_disabled = True
        else:
            user.password_hash = passwords.hash_password("close sesame")
    assert len(list(islice(frames, 10))) < 10
