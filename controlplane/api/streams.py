# SPDX-License-Identifier: Apache-2.0
"""One reader of new events a server, however many listen: it polls the database and hands on what it finds.

It polls only while somebody listens. Events may come from any process: the database is the only channel, so
there is none that could lose one.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from controlplane.domain.errors import Problem
from controlplane.services import timeline
from controlplane.services.core import Core

POLL_SECONDS = 0.05
PAUSE_AFTER_ERROR = 1.0
BACKLOG = 1000
MOST_STREAMS = 1000
log = logging.getLogger(__name__)

Event = Mapping[str, Any]


@dataclass(frozen=True)
class Frame:
    """An event, and the bytes that it is on every stream: made once for all."""

    event: Event
    data: bytes


def frame_of(event: Event) -> Frame:
    """Return an event as a server-sent event whose id is its seq."""
    text = json.dumps(event, separators=(",", ":"))
    return Frame(event, f"id: {event['seq']}\ndata: {text}\n\n".encode())


@dataclass(eq=False)
class Subscription:
    """One listener. Whoever falls `BACKLOG` frames behind is dropped: it comes back with its Last-Event-ID."""

    wants: Callable[[Event], bool]
    on_drop: Callable[[], None]
    frames: queue.Queue[Frame | None] = field(default_factory=lambda: queue.Queue(maxsize=BACKLOG))
    is_dropped: bool = False

    def next_frame(self, timeout: float) -> Frame | None:
        """Return the next frame, or None when none came in time."""
        try:
            return self.frames.get(timeout=timeout)
        except queue.Empty:
            return None


class EventHub:
    """Fans events out to subscriptions, in order of seq, each exactly once."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._lock = threading.Lock()
        self._subscriptions: set[Subscription] = set()
        self._seq = 0
        self._is_polling = False

    @property
    def open_streams(self) -> int:
        """How many listen now."""
        return len(self._subscriptions)

    @contextmanager
    def subscribe(
        self, wants: Callable[[Event], bool], on_drop: Callable[[], None]
    ) -> Iterator[Subscription]:
        """Listen to every event that is committed from here on.

        What was committed before is for the caller to read from the database after this call; an event that is
        in both has the same seq.

        Raises:
            Problem: `rate_limited`, when too many listen already.
        """
        subscription = Subscription(wants, on_drop)
        self._add(subscription)
        try:
            yield subscription
        finally:
            with self._lock:
                self._subscriptions.discard(subscription)

    def check_room(self) -> None:
        """Let pass while there is room for another listener. Raises Problem `rate_limited`."""
        if len(self._subscriptions) >= MOST_STREAMS:
            raise Problem("rate_limited", "too many streams are open", extra={"retry_after": 30})

    def _add(self, subscription: Subscription) -> None:
        with self._lock:
            self.check_room()
            if not self._is_polling:
                self._seq = timeline.newest_seq(self._core)
                self._is_polling = True
                threading.Thread(target=self._poll, name="event-hub", daemon=True).start()
            self._subscriptions.add(subscription)

    def close(self) -> None:
        """End every stream; clients come back with their Last-Event-ID, to whoever answers then."""
        with self._lock:
            ended, self._subscriptions = self._subscriptions, set()
        for subscription in ended:
            subscription.is_dropped = True
            with suppress(queue.Full):
                subscription.frames.put_nowait(None)

    def _poll(self) -> None:
        while True:
            with self._lock:
                if not self._subscriptions:
                    self._is_polling = False
                    return
            try:
                found = timeline.since(self._core, self._seq)
            except Exception:
                log.exception("new events cannot be read; trying again")
                time.sleep(PAUSE_AFTER_ERROR)
                continue
            if found:
                self._hand_on([frame_of(event) for event in found])
            if len(found) < timeline.MOST:
                time.sleep(POLL_SECONDS)

    def _hand_on(self, frames: list[Frame]) -> None:
        with self._lock:
            dropped = [each for each in self._subscriptions if not _offer(each, frames)]
            self._subscriptions.difference_update(dropped)
            self._seq = frames[-1].event["seq"]
        for subscription in dropped:
            log.info("a stream was dropped: its client does not read")
            subscription.on_drop()


def _offer(subscription: Subscription, frames: list[Frame]) -> bool:
    """Queue what the listener wants; False when it is too far behind."""
    try:
        for frame in frames:
            if subscription.wants(frame.event):
                subscription.frames.put_nowait(frame)
    except queue.Full:
        subscription.is_dropped = True
        return False
    return True
