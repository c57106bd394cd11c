# SPDX-License-Identifier: Apache-2.0
"""How often an address may fail to say who it is: each failure is an event on disk, each password costs seconds of CPU.

In memory, by server process: a restart forgets, which gives a guesser nothing worth having.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque

from controlplane.domain.errors import Problem

MOST = 30
WITHIN_SECONDS = 60.0
# What is remembered is bounded too: the address that failed longest ago is forgotten first.
ADDRESSES = 10_000


class LoginLimit:
    """Counts failures by address over the last `WITHIN_SECONDS`."""

    def __init__(self) -> None:
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def is_spent(self, address: str) -> bool:
        """Say whether the address has failed too often."""
        return self._wait(address) > 0

    def note(self, address: str) -> None:
        """Count a failure."""
        failures = self._failures.setdefault(address, deque(maxlen=MOST))
        failures.append(time.monotonic())
        self._failures.move_to_end(address)
        while len(self._failures) > ADDRESSES:
            self._failures.popitem(last=False)

    def refusal(self, address: str) -> Problem:
        """Return what an address that has failed too often is told."""
        wait = max(1, round(self._wait(address)))
        return Problem(
            "rate_limited", "too many logins from this address failed", extra={"retry_after": wait}
        )

    def _wait(self, address: str) -> float:
        """Return the seconds until the oldest of the failures no longer counts, 0 where there are too few."""
        failures = self._failures.get(address)
        if failures is None or len(failures) < MOST:
            return 0.0
        return max(0.0, failures[0] + WITHIN_SECONDS - time.monotonic())
