# SPDX-License-Identifier: Apache-2.0
"""Following the events of a release or an install over breaks of the connection: each once, in order, to the end."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from controlplane.cli.client import ApiProblem, Client, Unreachable

# The server sends a sign of life every 15 seconds: longer silence is a broken connection.
SILENCE_SECONDS = 40.0
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 10.0


@dataclass(frozen=True)
class Told:
    """One message of the stream: an event, or (`is_end`) the last state of what was followed."""

    document: dict[str, Any]
    is_end: bool = False


def messages(lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    """Turn lines of an event stream into (event name, data). Comments and unknown fields are passed over."""
    name = "message"
    data: list[str] = []
    for line in lines:
        if not line:
            if data:
                yield name, "\n".join(data)
            name, data = "message", []
            continue
        key, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if key == "event":
            name = value
        elif key == "data":
            data.append(value)


def release_events(client: Client, release_id: str, patience_seconds: float = 120.0) -> Iterator[Told]:
    """Yield a release's events from its beginning until it has ended; see `all_events`."""
    return all_events(client, f"/deploy/releases/{release_id}/timeline/stream", patience_seconds)


def all_events(client: Client, path: str, patience_seconds: float = 120.0) -> Iterator[Told]:
    """Yield the events of a stream from its beginning until it has ended.

    Raises:
        ApiProblem: it may not be read (any more).
        Unreachable: there was no connection for `patience_seconds` in one go.
    """
    seen = 0
    pause = FIRST_PAUSE_SECONDS
    broken_since: float | None = None
    while True:
        try:
            stream = client.stream(path, seen, SILENCE_SECONDS)
            for name, data in messages(stream):
                pause, broken_since = FIRST_PAUSE_SECONDS, None
                document = json.loads(data)
                if name == "end":
                    yield Told(document, is_end=True)
                    return
                if document["seq"] > seen:
                    seen = document["seq"]
                    yield Told(document)
        except ApiProblem as problem:
            if problem.status < 500 and problem.status != 429:
                raise
            broken_since = _still_patient(broken_since, patience_seconds, Unreachable(str(problem)))
        except Unreachable as error:
            broken_since = _still_patient(broken_since, patience_seconds, error)
        time.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


def _still_patient(since: float | None, patience_seconds: float, error: Unreachable) -> float:
    now = time.monotonic()
    if since is not None and now - since > patience_seconds:
        raise error
    return since or now
