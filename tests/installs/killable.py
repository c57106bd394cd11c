# SPDX-License-Identifier: Apache-2.0
"""A server that is killed in the middle of its work, and comes back on what is on the disk."""

from __future__ import annotations

from pathlib import Path

from tests.demo import server
from tests.demo.rest import Person
from tests.demo.test_walk import free_address
from tests.installs.conftest import settings


class Killable:
    """A served Tidegate of this test's own, which dies and comes back."""

    def __init__(self, home: Path) -> None:
        self.home, self.address = home, free_address()
        token = server.initialise(home)
        (home / "tidegate.toml").write_text(settings() + "lease_seconds = 4\nheartbeat_seconds = 1\n")
        self._process = server.start(home, self.address)
        self.admin = Person(f"http://{self.address}", "admin", token)

    def die(self) -> None:
        """End at once, as by a power cut; its workers end with it."""
        self._process.kill()
        self._process.wait()

    def come_back(self) -> None:
        """Start again on what is on the disk."""
        self._process = server.start(self.home, self.address)

    def stop(self) -> None:
        server.stop(self._process.pid)
