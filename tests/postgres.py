# SPDX-License-Identifier: Apache-2.0
"""A private PostgreSQL for the tests: one cluster a test run, one database a test.

`tests/conftest.py` loads the fixtures.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

_TUNING = {
    # The tests ask what a transaction shows to others, not whether it survives a power cut.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "autovacuum": "off",
}


def find_binaries() -> Path | None:
    """Return the folder of the newest PostgreSQL server programs, or None when there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else None


class PrivateCluster:
    """A PostgreSQL of our own on a free loopback port, its data in a folder that goes when it ends."""

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        self._process: subprocess.Popen[bytes] | None = None
        # Root may not run PostgreSQL; the package made this user for it.
        self._user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        self.folder = Path(tempfile.mkdtemp(prefix="tidegate-pg-"))
        self.url = ""

    def start(self) -> None:
        """Make the cluster and wait until it answers."""
        account = pwd.getpwnam(self._user)
        os.chown(self.folder, account.pw_uid, account.pw_gid)
        data = self.folder / "data"
        self._run(
            ["initdb", "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]
        )
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        options = {**_TUNING, "listen_addresses": "127.0.0.1", "port": str(port)}
        options["unix_socket_directories"] = str(self.folder)
        settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [str(self._binaries / "postgres"), "-D", str(data), *settings],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                **self._identity(),
            )
        self.url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        self._wait()

    def stop(self) -> None:
        """End the cluster and remove its data."""
        if self._process is not None:
            # Immediate: nothing in it is worth a checkpoint.
            self._process.send_signal(3)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _wait(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=5).close()
                return
            except psycopg.OperationalError:
                ended = self._process is None or self._process.poll() is not None
                if ended or time.monotonic() > deadline:
                    raise RuntimeError(
                        "PostgreSQL did not start:\n" + (self.folder / "log").read_text()
                    ) from None
                time.sleep(0.05)

    def _run(self, words: list[str]) -> None:
        done = subprocess.run(
            [str(self._binaries / words[0]), *words[1:]],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            **self._identity(),
        )
        if done.returncode != 0:
            raise RuntimeError(f"{words[0]} failed: {done.stderr}")

    def _identity(self) -> dict[str, Any]:
        if os.geteuid() != 0:
            return {}
        account = pwd.getpwnam(self._user)
        return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def fresh_database(url: str, template: str | None = None) -> str:
    """Make a database in the cluster of `url`, empty or as `template`'s url has it, and return its own url."""
    name = "t_" + secrets.token_hex(8)
    like = f' TEMPLATE "{urlsplit(template).path[1:]}"' if template else ""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"{like}')
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def drop_database(url: str) -> None:
    """Remove a database that `fresh_database` made, with whoever is still connected to it."""
    parts = urlsplit(url)
    with psycopg.connect(urlunsplit(parts._replace(path="/postgres")), autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{parts.path[1:]}" WITH (FORCE)')


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a private cluster, one for all xdist workers of the run; skipped where no server is installed."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL's server programs are missing: apt-get install postgresql")
    if not os.environ.get("PYTEST_XDIST_WORKER"):
        cluster = PrivateCluster(binaries)
        try:
            cluster.start()
            yield cluster.url
        finally:
            cluster.stop()
        return
    yield from _shared_cluster(binaries, tmp_path_factory.getbasetemp().parent)


def _shared_cluster(binaries: Path, folder: Path) -> Iterator[str]:
    """The first worker starts the cluster, the last that ends stops it; a locked file counts them."""
    cluster: PrivateCluster | None = None
    with _counted(folder) as state:
        if not state.get("users"):
            cluster = PrivateCluster(binaries)
            cluster.start()
            state.update(url=cluster.url, users=0)
        state["users"] += 1
        url: str = state["url"]
    try:
        yield url
    finally:
        with _counted(folder) as state:
            state["users"] -= 1
        if cluster is not None:
            _await_nobody(folder)
            cluster.stop()


def _await_nobody(folder: Path) -> None:
    # The worker that started it is the parent of its process and has to be the one that ends it.
    deadline = time.monotonic() + 1800
    while time.monotonic() < deadline:
        with _counted(folder) as state:
            if state["users"] <= 0:
                return
        time.sleep(0.2)


@contextlib.contextmanager
def _counted(folder: Path) -> Iterator[dict[str, Any]]:
    with (folder / "postgres.lock").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        text = file.read()
        state = json.loads(text) if text else {}
        yield state
        file.seek(0)
        file.truncate()
        file.write(json.dumps(state))


@pytest.fixture
def postgres_database(postgres_url: str) -> Iterator[str]:
    """URL of an empty database of this test alone."""
    url = fresh_database(postgres_url)
    yield url
    drop_database(url)


@pytest.fixture
def make_postgres_database(postgres_url: str) -> Iterator[Callable[[], str]]:
    """A function that returns the URL of another empty database at each call."""
    made: list[str] = []

    def make() -> str:
        made.append(fresh_database(postgres_url))
        return made[-1]

    yield make
    for url in made:
        drop_database(url)
