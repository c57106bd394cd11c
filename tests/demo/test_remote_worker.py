# SPDX-License-Identifier: Apache-2.0
"""The same walk where the only worker is on another machine: it shares the database and the keys, and no folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab import Lab

from . import server
from .rest import Person
from .test_walk import Silent, free_address
from .walk import Walked, walk

pytestmark = [
    pytest.mark.lab,
    pytest.mark.postgres,
    pytest.mark.slow,
    pytest.mark.xdist_group("lab-remote-worker"),
]


@dataclass
class Apart:
    """What was walked, and the two homes."""

    walked: Walked
    server: Path
    worker: Path


@pytest.fixture
def apart(lab: Lab, tmp_path: Path, postgres_database: str) -> Iterator[Apart]:
    """The walk with a server without workers, and a worker whose home has nothing but settings and keys."""
    home, elsewhere, address = tmp_path / "server", tmp_path / "worker", free_address()
    for folder in (home, elsewhere):
        folder.mkdir(mode=0o700)
    (home / "tidegate.toml").write_text(f'database_url = "{postgres_database}"\n')
    token = server.initialise(home)
    serving = server.start(home, address)
    url = f"http://{address}"
    (elsewhere / "tidegate.toml").write_text(
        f'database_url = "{postgres_database}"\n'
        f'artifact_url = "{url}"\nartifact_token = "{reader(Person(url, "admin", token))}"\n'
    )
    shutil.copy(home / "keys", elsewhere / "keys")
    host = lab.host("remote-worker")
    working = server.start_worker(elsewhere)
    try:
        archives = lab.app_archive
        walked = walk(url, token, host, lambda version, healthy: archives(version, healthy=healthy), Silent())
        yield Apart(walked, home, elsewhere)
    finally:
        for process in (working, serving):
            server.stop(process.pid)
        host.remove()


def reader(admin: Person) -> str:
    """Return a token that reads archives and little else."""
    user = admin.post("/users", {"name": "fetcher"})["id"]
    bound = {"subject_type": "user", "subject_id": user, "role": "viewer", "scope_type": "global"}
    admin.post("/bindings", bound)
    return str(admin.post("/tokens", {"user_id": user, "name": "archives"})["token"])


def archives(home: Path) -> dict[str, int]:
    """Return the archives in a home, by digest, with their sizes."""
    return {path.name: path.stat().st_size for path in (home / "artifacts" / "sha256").glob("??/*")}


def test_a_worker_elsewhere_fetches_what_it_lacks_and_releases_it(apart: Apart) -> None:
    states = {name: release["lifecycle_state"] for name, release in apart.walked.releases.items()}
    assert states == {"v1": "applied", "v2": "applied", "v3": "rollback", "rollback": "applied"}
    fetched = archives(apart.worker)
    assert len(fetched) == 3, "one archive of each version"
    assert fetched == archives(apart.server)
    assert not (apart.worker / "tidegate.db").exists()
