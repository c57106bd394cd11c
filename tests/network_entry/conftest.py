# SPDX-License-Identifier: Apache-2.0
"""One server for these tests, a bundle with keepalived, and three hosts that serve behind a VIP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.automation import entry
from tests.conformance.site import Site
from tests.demo import server
from tests.demo.rest import Person
from tests.demo.test_walk import free_address
from tests.lab import Lab, LabHost
from tests.network_entry import behind
from tests.network_entry.cluster import Cluster

SETTINGS = """\
bundle_dir = "{bundle}"
network_entry_check_seconds = 2
lease_seconds = 4
heartbeat_seconds = 1
"""


class Served:
    """A served Tidegate, which can die and come back."""

    def __init__(self, home: Path, bundle_dir: Path) -> None:
        self.home, self.address = home, free_address()
        token = server.initialise(home)
        (home / "tidegate.toml").write_text(SETTINGS.format(bundle=bundle_dir))
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


@pytest.fixture(scope="package")
def served(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("entries")
    made = Served(folder / "home", entry.bundle(folder / "bundle"))
    yield made
    made.stop()


@pytest.fixture(scope="package")
def site(lab: Lab, served: Served) -> Site:
    project_id = served.admin.post("/projects", {"name": "entries"})["id"]
    return Site(served.admin, project_id, lab, home=served.home)


@pytest.fixture(scope="package")
def three(lab: Lab) -> Iterator[list[LabHost]]:
    """Three hosts, each with a TLS service whose certificate names the VIP."""
    hosts = [lab.host(f"nen-{name}", docker=False) for name in "abc"]
    for host in hosts:
        behind.serve(host, host.address, vip_of(hosts))
    yield hosts
    for host in hosts:
        host.remove()


@pytest.fixture
def cluster(site: Site, three: list[LabHost]) -> Iterator[Cluster]:
    """A cluster in development; its entry is removed after the test."""
    made = Cluster.make(site, three, vip_of(three))
    yield made
    if made.show()["mode"] != "none":
        made.do("rollback", remove=True)
    assert made.holders() == []


def vip_of(hosts: list[LabHost]) -> str:
    """Return an address of the lab's segment that no host has."""
    return f"{hosts[0].address.rsplit('.', 1)[0]}.241"
