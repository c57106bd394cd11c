# SPDX-License-Identifier: Apache-2.0
"""The same walk where the server has no worker of its own: PostgreSQL, and two workers beside it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import Lab

from . import server
from .test_walk import Silent, free_address
from .walk import Walked, walk

pytestmark = [
    pytest.mark.lab,
    pytest.mark.postgres,
    pytest.mark.slow,
    pytest.mark.xdist_group("lab-scale-out"),
]


@pytest.fixture
def walked(lab: Lab, tmp_path: Path, postgres_database: str) -> Iterator[Walked]:
    """The walk with `tidegate serve` and `tidegate worker` as processes of their own."""
    home, address = tmp_path / "home", free_address()
    home.mkdir(mode=0o700)
    (home / "tidegate.toml").write_text(f'database_url = "{postgres_database}"\n')
    host = lab.host("scale-out")
    token = server.initialise(home)
    serving = server.start(home, address)
    workers = [server.start_worker(home) for _number in range(2)]
    try:
        yield walk(
            f"http://{address}",
            token,
            host,
            lambda version, healthy: lab.app_archive(version, healthy=healthy),
            Silent(),
        )
    finally:
        for process in (*workers, serving):
            server.stop(process.pid)
        host.remove()


def test_workers_release_what_the_server_was_asked_for(walked: Walked, tmp_path: Path) -> None:
    states = {name: release["lifecycle_state"] for name, release in walked.releases.items()}
    assert states == {"v1": "applied", "v2": "applied", "v3": "rollback", "rollback": "applied"}
    verified = subprocess.run(
        [*server.command(), "audit", "verify", "--json"],
        env={**os.environ, "TIDEGATE_URL": walked.url, "TIDEGATE_TOKEN": walked.admin_token},
        capture_output=True,
        text=True,
        check=False,
    )
    assert verified.returncode == 0, verified.stdout + verified.stderr
