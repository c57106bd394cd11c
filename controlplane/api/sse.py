# SPDX-License-Identifier: Apache-2.0
"""Server-sent events: what is stored first, then what comes, with no gap and no duplicate between the two.

A reader that comes back with the last id it saw goes on right after it, at whatever moment it was cut off.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, cast

from flask import Response, current_app, request
from marshmallow import fields, validate

from controlplane.api import schema
from controlplane.api.streams import Event, EventHub, Subscription, frame_of
from controlplane.domain.errors import Problem
from controlplane.domain.permission import Actor
from controlplane.domain.release import ENDS, read_state
from controlplane.services import access, tasks, timeline
from controlplane.services.core import Core

MEDIA_TYPE = "text/event-stream"
HEARTBEAT_SECONDS = 15.0
PAGE = timeline.MOST
SOCKET_KEY = "tidegate.socket"
_MOST_SEQ = 2**63 - 1

LAST_EVENT_ID = {
    "in": "header",
    "name": "Last-Event-ID",
    "required": False,
    "schema": {"type": "integer", "minimum": 0, "maximum": _MOST_SEQ},
    "description": "The seq of the last event that was seen; wins over `after`.",
}


class StreamArgs(schema.StrictSchema):
    """The query of a stream."""

    after = fields.Integer(
        load_default=None,
        validate=validate.Range(0, _MOST_SEQ),
        metadata={"description": "Send what came after this seq."},
    )


class Stream(Protocol):
    """What is followed: its stored events in pages, which new ones belong to it, and whether it is over."""

    core: Core
    actor: Actor

    def first_seq(self) -> int:
        """Return the seq to begin after when the caller names none."""
        ...

    def page(self, after: int) -> dict[str, Any]:
        """Return `{items, next}` of stored events after a seq. Raises Problem where it may not be read."""
        ...

    def wants(self, event: Event) -> bool:
        """Say whether a new event belongs to it."""
        ...

    def end(self) -> dict[str, Any] | None:
        """Return what to tell at the end when nothing more will come, else None."""
        ...


class ReleaseStream:
    """The timeline of one release. It is over when the release is in an end state."""

    def __init__(self, core: Core, actor: Actor, release_id: str) -> None:
        self.core = core
        self.actor = actor
        self.release_id = release_id

    def first_seq(self) -> int:
        """From the beginning."""
        return 0

    def page(self, after: int) -> dict[str, Any]:
        """Return stored events of the release after a seq."""
        return timeline.of_release(self.core, self.actor, self.release_id, after, PAGE)

    def wants(self, event: Event) -> bool:
        """Say whether it is about this release."""
        return event["resource_id"] == self.release_id and event["resource_type"] == "release"

    def end(self) -> dict[str, Any] | None:
        """Return the release's last state, once it has one."""
        with self.core.database.read() as session:
            release, _project = timeline.load_release(session, self.actor, self.release_id)
        state = read_state(release.state)
        if state not in ENDS:
            return None
        return {"release_id": release.id, "lifecycle_state": str(state), "status": release.status}


class TaskStream:
    """The events of a task. It is over when the task has ended."""

    def __init__(self, core: Core, actor: Actor, subject: tasks.Subject, task_id: str, owner_id: str) -> None:
        self.core = core
        self.actor = actor
        self.subject = subject
        self.task_id = task_id
        self.owner_id = owner_id

    def first_seq(self) -> int:
        """From the beginning."""
        return 0

    def page(self, after: int) -> dict[str, Any]:
        """Return stored events of the task after a seq."""
        return tasks.timeline_of(
            self.core, self.actor, self.subject, self.task_id, self.owner_id, after, PAGE
        )

    def wants(self, event: Event) -> bool:
        """Say whether it is about this task."""
        return event["resource_id"] == self.task_id and event["resource_type"] == f"{self.subject.name}_task"

    def end(self) -> dict[str, Any] | None:
        """Return the task's last state, once it has one."""
        return tasks.ended(self.core, self.actor, self.subject, self.task_id)


class EventStream:
    """Everything that the actor may see, filtered. It is never over."""

    def __init__(self, core: Core, actor: Actor, filters: Mapping[str, str]) -> None:
        self.core = core
        self.actor = actor
        self.filters = filters

    def first_seq(self) -> int:
        """From now on."""
        return timeline.newest_seq(self.core)

    def page(self, after: int) -> dict[str, Any]:
        """Return stored events after a seq."""
        return timeline.of_all(self.core, self.actor, self.filters, after, PAGE)

    def wants(self, event: Event) -> bool:
        """Say whether it passes the filters and may be read."""
        is_asked = all(event[name] == value for name, value in self.filters.items())
        return is_asked and timeline.may_read(self.actor, event)

    def end(self) -> dict[str, Any] | None:
        """It has none."""
        return None


def answer(stream: Stream, query: Mapping[str, Any]) -> Response:
    """Return the response that follows a stream.

    Raises:
        Problem: what reading the stream raises, `validation_error` for a bad Last-Event-ID, `rate_limited`.
    """
    after = _last_event_id()
    if after is None:
        after = query["after"] if query["after"] is not None else stream.first_seq()
    stream.page(after)
    hub = cast(EventHub, current_app.extensions["tidegate.hub"])
    hub.check_room()
    refresh = _refresher(stream)
    body = _body(stream, hub, after, _closer(request.environ.get(SOCKET_KEY)), refresh)
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return Response(body, content_type=MEDIA_TYPE, headers=headers)


def _body(
    stream: Stream, hub: EventHub, after: int, on_drop: Callable[[], None], refresh: Callable[[], None]
) -> Iterator[bytes]:
    yield b"retry: 1000\n\n"
    # A long backlog is sent before listening, so that it does not fill the queue meanwhile.
    try:
        for event in _stored(stream, after):
            yield frame_of(event).data
            after = event["seq"]
        with hub.subscribe(lambda event: stream.wants(event), on_drop) as subscription:
            yield from _live(stream, subscription, after, refresh)
    except Problem:
        # The caller may no longer read this (or too many listen): the stream ends, and the next request says why.
        return


def _live(
    stream: Stream, subscription: Subscription, after: int, refresh: Callable[[], None]
) -> Iterator[bytes]:
    must_read = True
    checked = time.monotonic()
    while True:
        if time.monotonic() - checked > HEARTBEAT_SECONDS:
            refresh()
            checked = time.monotonic()
        if must_read:
            over = stream.end()
            # Read after asking for the end: the events of an end are committed together with it.
            for event in _stored(stream, after):
                yield frame_of(event).data
                after = event["seq"]
            if over is not None:
                yield f"event: end\ndata: {json.dumps(over)}\n\n".encode()
                return
        frame = subscription.next_frame(HEARTBEAT_SECONDS)
        if subscription.is_dropped:
            return
        must_read = False
        if frame is None:
            yield b": still here\n\n"
        elif frame.event["seq"] > after:
            yield frame.data
            after = frame.event["seq"]
            must_read = frame.event["action"] in _MAY_END


_MAY_END = (
    frozenset(f"release.{state}" for state in ENDS)
    | {"release.rollback_completed", "release.rollback_failed"}
    | {f"environment.install_{end}" for end in ("succeeded", "failed", "rejected", "expired", "cancelled")}
    | {"environment.install_rollback_succeeded", "environment.install_rollback_failed"}
    | {
        f"network_entry.{end}"
        for end in ("ready", "failed", "rolled_back", "failover_observed", "rejected", "expired", "cancelled")
    }
    | {f"cluster.cert_rotation_{end}" for end in ("succeeded", "failed", "rejected", "expired", "cancelled")}
)


def _stored(stream: Stream, after: int) -> Iterator[Event]:
    while True:
        page = stream.page(after)
        yield from page["items"]
        if page["next"] is None:
            return
        after = page["next"]


def _last_event_id() -> int | None:
    text = request.headers.get("Last-Event-ID", "").strip()
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or int(text[:20]) > _MOST_SEQ:
        raise Problem("validation_error", errors={"Last-Event-ID": ["must be the seq of an event"]})
    return int(text[:20])


def _refresher(stream: Stream) -> Callable[[], None]:
    """Look again, at each heartbeat, at who listens: a revoked token or a changed password ends its streams."""
    look = access.looking_again(stream.core, stream.actor)

    def refresh() -> None:
        stream.actor = look()

    return refresh


def _closer(connection: socket.socket | None) -> Callable[[], None]:
    """Return what cuts a client off that does not read: its stream hangs in a send that nothing else ends."""

    def close() -> None:
        if connection is not None:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    return close
