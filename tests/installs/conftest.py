# SPDX-License-Identifier: Apache-2.0
"""One server for these tests, with the lab's bundle; and bare hosts."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.conformance.site import Site
from tests.demo import server
from tests.demo.rest import Person
from tests.demo.test_walk import free_address
from tests.installs.made_cluster import MadeCluster
from tests.lab import Lab, LabHost
from tests.lab import bundle as lab_bundle

SETTINGS = """\
cluster_address_allow = ["127.0.0.0/8"]
bundle_dir = "{bundle}"
bundle_trusted_keys = ["{key}"]
"""


def settings() -> str:
    """What a server is told that installs from the lab's bundle."""
    return SETTINGS.format(bundle=lab_bundle.make(), key=lab_bundle.public_key())


@pytest.fixture(scope="package")
def site(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A served Tidegate on SQLite that trusts who signed the lab's bundle."""
    home = tmp_path_factory.mktemp("installs") / "home"
    address = free_address()
    admin = Person(f"http://{address}", "admin", server.initialise(home))
    (home / "tidegate.toml").write_text(settings())
    process = server.start(home, address)
    try:
        yield Site(admin, admin.post("/projects", {"name": "installs"})["id"], lab, home=home)
    finally:
        server.stop(process.pid)


@pytest.fixture(scope="package")
def made_cluster(site: Site, lab: Lab) -> Iterator[MadeCluster]:
    """A cluster of one host."""
    host = lab.host("inst-plane", docker=False)
    try:
        yield MadeCluster.build(site, host)
    finally:
        host.remove()


@pytest.fixture
def bare(lab: Lab) -> Iterator[Callable[[str], LabHost]]:
    """Makes hosts with nothing but systemd and sshd on them."""
    made: list[LabHost] = []

    def make(name: str) -> LabHost:
        made.append(lab.host(f"inst-{name}", docker=False))
        return made[-1]

    yield make
    for host in made:
        host.remove()
