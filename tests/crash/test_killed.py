# SPDX-License-Identifier: Apache-2.0
"""Whatever is killed with -9, each release comes to one definite end, and its timeline stays whole."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.site import ENDS, Service, Site, compose
from tests.demo import server
from tests.demo.rest import Person
from tests.demo.test_walk import free_address
from tests.lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.xdist_group("lab-crash")]


class Installation:
    """A server that can be killed and started again on the same home."""

    def __init__(self, home: Path, lab: Lab) -> None:
        self.home = home
        self.address = free_address()
        self.token = server.initialise(home)
        self.process = self._start()
        admin = Person(f"http://{self.address}", "admin", self.token)
        self.site = Site(admin, admin.post("/projects", {"name": "crash"})["id"], lab)

    def _start(self) -> subprocess.Popen[bytes]:
        return server.start(self.home, self.address)

    def kill_workers(self) -> None:
        """Kill the worker, and nothing else: its keeper starts another."""
        keepers = children(self.process.pid)
        for worker in [worker for keeper in keepers for worker in children(keeper)]:
            os.kill(worker, signal.SIGKILL)

    def kill_all(self) -> None:
        """Kill the server; what it started has to end by itself. Then start it again."""
        self.process.kill()
        self.process.wait()
        wait_for(lambda: not playbooks(), 10)
        self.process = self._start()


def children(pid: int) -> list[int]:
    """Return the children of a process."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in listed.split()]


def playbooks() -> list[str]:
    """Return the command lines of every ansible-playbook that lives and works on this installation's runs."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if "ansible-playbook" in line and "crash" in entry.with_name("environ").read_bytes().decode(
            errors="replace"
        ):
            found.append(line)
    return found


def wait_for(is_so: object, seconds: float) -> None:
    """Wait until it is so, and fail when it never is."""
    until = time.monotonic() + seconds
    while not is_so():  # type: ignore[operator]
        assert time.monotonic() < until, playbooks()
        time.sleep(0.2)


@pytest.fixture
def installation(lab: Lab, tmp_path: Path) -> Iterator[Installation]:
    """An installation of the test's own."""
    made = Installation(tmp_path / "home", lab)
    try:
        yield made
    finally:
        server.stop(made.process.pid)
        for host in made.site.hosts:
            host.remove()


def ended_once(installation: Installation, service: Service, release_id: str) -> str:
    release = service.ended(release_id, seconds=150)
    told = service.told(release)
    assert sum(told.count(end) for end in ENDS) == 1, told
    assert installation.site.admin.get("/audit/verify")["is_intact"]
    return str(release["lifecycle_state"])


def test_a_worker_killed_in_each_state_leaves_no_release_behind(installation: Installation) -> None:
    site = installation.site
    _host, host_id = site.host("crash")
    service, target = site.service(), site.target(host_id)
    service.add("1", compose("web", port=False), ["1", "2"], health_timeout=30)

    body = {"target_id": target, "service": service.name, "version": "1"}
    asked = site.admin.post("/deploy/releases/preview", body, prefer="wait=0")
    installation.kill_workers()
    shown = service.when(asked["release_id"], lambda release: release["status"] == "previewed", 60)
    assert shown["preview_ref"]

    service.start(shown)
    service.when(asked["release_id"], lambda release: release["lifecycle_state"] == "applying")
    time.sleep(1.5)
    installation.kill_workers()
    assert ended_once(installation, service, asked["release_id"]) == "applied"


def test_the_whole_server_killed_comes_back_to_its_releases(installation: Installation) -> None:
    site = installation.site
    _host, host_id = site.host("crash-all")
    service, target = site.service(), site.target(host_id)
    service.add("1", compose("web", port=False), ["1", "2"], health_timeout=30)
    preview = service.preview(target, "1")
    installation.kill_all()
    service.start(preview)
    service.when(preview["release_id"], lambda release: release["lifecycle_state"] == "applying")
    time.sleep(1.0)
    installation.kill_all()
    assert ended_once(installation, service, preview["release_id"]) == "applied"
    again = service.release(target, "1", variables={"tag": "2"})
    assert again["lifecycle_state"] == "applied", again["diagnostics_json"]
