# SPDX-License-Identifier: Apache-2.0
"""A client that asks throughout: bounded requests, one after the other, each on a connection of its own."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter

REQUESTS_AT_MOST = 20_000


class Asker:
    """Asks `http://address:port/` in a thread from `with` to its end.

    `answers` are the bodies in order, `failures` what went wrong instead of an answer.
    """

    def __init__(self, address: str, port: int, pause: float = 0.01) -> None:
        self.answers: list[str] = []
        self.failures: list[str] = []
        self._address, self._port, self._pause = address, port, pause
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask_on, daemon=True)

    def __enter__(self) -> Asker:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(timeout=15)

    @property
    def versions(self) -> list[str]:
        """The answers with repetitions in a row left out."""
        return [one for at, one in enumerate(self.answers) if at == 0 or self.answers[at - 1] != one]

    def _ask_on(self) -> None:
        while not self._over.is_set() and len(self.answers) + len(self.failures) < REQUESTS_AT_MOST:
            try:
                self.answers.append(ask(self._address, self._port))
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"{type(error).__name__}: {error}")
            time.sleep(self._pause)


def ask(address: str, port: int, path: str = "/", timeout: float = 10) -> str:
    """One request; answers its body without white space around it. Raises OSError or HTTPException."""
    connection = http.client.HTTPConnection(address, port, timeout=timeout)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode().strip()
    finally:
        connection.close()


def count(address: str, port: int, requests: int) -> Counter[str]:
    """How often each answer came in so many requests."""
    return Counter(ask(address, port) for _ in range(requests))
