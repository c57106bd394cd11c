# SPDX-License-Identifier: Apache-2.0
"""Installations to measure: served by `tidegate serve`, filled through the API or straight into the store."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from controlplane import bootstrap, settings
from controlplane.services.core import Core
from tests.demo import server
from tests.demo.rest import Person
from tests.demo.test_walk import free_address


@contextmanager
def served(home: Path) -> Iterator[tuple[Person, subprocess.Popen[bytes]]]:
    """Make an installation (where there is none) and serve it; yield its administrator and the process."""
    token_file = home.with_suffix(".token")
    if not token_file.exists():
        token_file.write_text(server.initialise(home))
    address = free_address()
    process = server.start(home, address)
    try:
        yield Person(f"http://{address}", "admin", token_file.read_text()), process
    finally:
        server.stop(process.pid)


def core_of(home: Path) -> Core:
    """Return the core of an installation that is served by another process."""
    return bootstrap.build_core(settings.load({"TIDEGATE_HOME": str(home)}))
