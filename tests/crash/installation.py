# SPDX-License-Identifier: Apache-2.0
"""A served Tidegate that can be killed with -9 and started again on the same home, and what has to hold afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench.installation import core_of
from tests.conformance.site import ENDS, Service, Site
from tests.demo import server
from tests.demo.rest import Person
from tests.demo.test_walk import free_address
from tests.lab import Lab

# A lost worker is missed after this long; the default of 15 s would only make the tests longer.
LEASE_SECONDS = 4
# The lab's API server listens where a real one never would.
SETTINGS = (
    f"lease_seconds = {LEASE_SECONDS}\nheartbeat_seconds = 1\nworkers = 2\n"
    'cluster_address_allow = ["127.0.0.0/8"]\n'
)
KILLED = ("worker", "server")


class Installation:
    """The server, its administrator, and a second person who may approve."""

    def __init__(self, home: Path, lab: Lab, settings: str = SETTINGS) -> None:
        self.home = home
        self.address = free_address()
        home.mkdir(parents=True)
        (home / "tidegate.toml").write_text(settings)
        self.token = server.initialise(home)
        self.process = self._start()
        admin = Person(f"http://{self.address}", "admin", self.token)
        self.site = Site(admin, admin.post("/projects", {"name": "crash"})["id"], lab)
        self.approver = self._approver()

    def kill(self, victim: str, while_down: Callable[[], None] | None = None) -> None:
        """Kill the worker (its keeper starts another) or the whole server (which is then started again)."""
        if victim == "worker":
            for worker in self.workers():
                os.kill(worker, signal.SIGKILL)
            return
        self.process.kill()
        self.process.wait()
        self._see_workers_gone()
        if while_down:
            while_down()
        self.process = self._start()

    def _see_workers_gone(self) -> None:
        """Nothing that a server started outlives it."""
        wait_for(lambda: not self.playbooks(), 10)

    def workers(self) -> list[int]:
        """Return the worker processes of the server."""
        return [worker for keeper in _children(self.process.pid) for worker in _children(keeper)]

    def playbooks(self) -> list[str]:
        """Return the command lines of every ansible-playbook that lives and works on this installation's runs."""
        found = []
        mark = str(core_settings(self.home).run_dir).encode()
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line, environment = entry.read_bytes(), entry.with_name("environ").read_bytes()
            except OSError:
                continue
            if b"ansible-playbook" in line and mark in environment:
                found.append(line.replace(b"\0", b" ").decode(errors="replace"))
        return found

    def close(self) -> None:
        """Stop the server and remove the hosts."""
        server.stop(self.process.pid)
        for host in self.site.hosts:
            host.remove()

    def _start(self) -> subprocess.Popen[bytes]:
        return server.start(self.home, self.address)

    def _approver(self) -> Person:
        admin = self.site.admin
        user = admin.post("/users", {"name": "approver"})
        bound = {
            "subject_type": "user",
            "subject_id": user["id"],
            "role": "approver",
            "scope_type": "project",
        }
        admin.post("/bindings", {**bound, "scope_id": self.site.project_id})
        token = admin.post("/tokens", {"user_id": user["id"], "name": "approver"})
        return Person(f"http://{self.address}", "approver", token["token"])


class ScaledOut(Installation):
    """A server on PostgreSQL without workers of its own, and a worker process beside it."""

    def __init__(self, home: Path, lab: Lab, database_url: str) -> None:
        super().__init__(home, lab, f'database_url = "{database_url}"\n{SETTINGS}')
        self.worker = server.start_worker(home)

    def kill(self, victim: str, while_down: Callable[[], None] | None = None) -> None:
        """Kill the worker or the server, and start another, as systemd would."""
        if victim == "server":
            super().kill(victim, while_down)
            return
        self.worker.kill()
        self.worker.wait()
        self.worker = server.start_worker(self.home)

    def _see_workers_gone(self) -> None:
        """The worker is a process of its own, and goes on."""
        assert self.worker.poll() is None

    def workers(self) -> list[int]:
        """Return the worker's process."""
        return [self.worker.pid]

    def close(self) -> None:
        """Stop both processes and remove the hosts."""
        server.stop(self.worker.pid)
        super().close()


def core_settings(home: Path) -> Any:
    """Return the settings of the installation in `home`."""
    core = core_of(home)
    core.database.engine.dispose()
    return core.settings


def assert_ended_once(installation: Installation, service: Service, release_id: str) -> str:
    """Wait for a release's end, hold its timeline and the installation to what must be so, and return the end."""
    release = service.ended(release_id, seconds=120)
    admin = installation.site.admin
    told = service.told(release)
    assert sum(told.count(end) for end in ENDS) == 1, told
    seqs = _read_in_small_pages(admin, release_id)
    assert len(seqs) == len(told) == len(set(seqs)) and seqs == sorted(seqs)
    assert admin.get("/audit/verify")["is_intact"]
    wait_for(lambda: not installation.playbooks(), 15)
    jobs = [job for job in admin.get("/jobs", limit=200)["items"] if job["resource_id"] == release_id]
    assert jobs and not [job for job in jobs if job["state"] in ("queued", "running", "paused")], jobs
    return str(release["lifecycle_state"])


def _read_in_small_pages(admin: Person, release_id: str) -> list[int]:
    """Return the seqs that a reader sees who takes two events at a time."""
    seqs: list[int] = []
    after: int | None = 0
    while after is not None:
        page = admin.get(f"/deploy/releases/{release_id}/timeline", limit=2, after=after)
        seqs += [event["seq"] for event in page["items"]]
        after = page["next"]
    return seqs


def wait_for(is_so: Callable[[], object], seconds: float) -> None:
    """Wait until it is so, and fail when it never is."""
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until, "it never became so"
        time.sleep(0.1)


def _children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in listed.split()]
