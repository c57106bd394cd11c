# SPDX-License-Identifier: Apache-2.0
"""Events on their way from the run to the worker: put one by one, taken in batches, held in bounded memory."""

from __future__ import annotations

import threading
import time

BATCH = 200
BATCH_BYTES = 512 * 1024
FLUSH_SECONDS = 0.05
# When the worker takes no more, the run has to wait: better slow than out of memory.
WAITING_BYTES = 16 * 1024 * 1024


class Outbox:
    """One thread puts, another takes; the order is kept."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._waiting: list[bytes] = []
        self._size = 0
        self._first_at = 0.0
        self._is_closed = False

    def put(self, event: bytes) -> None:
        """Add an event; wait while too much is waiting."""
        with self._condition:
            while self._size > WAITING_BYTES:
                self._condition.wait()
            if not self._waiting:
                self._first_at = time.monotonic()
            self._waiting.append(event)
            self._size += len(event)
            # The taker is woken for the first event and for a full batch: each wake-up costs the run a thread switch.
            if len(self._waiting) in (1, BATCH) or self._size >= BATCH_BYTES:
                self._condition.notify_all()

    def close(self) -> None:
        """Say that nothing more comes."""
        with self._condition:
            self._is_closed = True
            self._condition.notify_all()

    def take(self) -> list[bytes]:
        """Return the next batch, at the latest `FLUSH_SECONDS` after its first event; [] at the end."""
        with self._condition:
            while not self._waiting and not self._is_closed:
                self._condition.wait()
            while not self._is_due():
                self._condition.wait(self._first_at + FLUSH_SECONDS - time.monotonic())
            batch = self._next_batch()
            self._first_at = time.monotonic()
            self._condition.notify_all()
            return batch

    def _is_due(self) -> bool:
        is_full = len(self._waiting) >= BATCH or self._size >= BATCH_BYTES
        return self._is_closed or is_full or time.monotonic() >= self._first_at + FLUSH_SECONDS

    def _next_batch(self) -> list[bytes]:
        count = size = 0
        for event in self._waiting[:BATCH]:
            count += 1
            size += len(event)
            if size >= BATCH_BYTES:
                break
        batch = self._waiting[:count]
        del self._waiting[:count]
        self._size -= size
        return batch
