# SPDX-License-Identifier: Apache-2.0
"""One server and one host for the whole suite; a test that breaks its host makes one of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance.site import ComposeHosts, Site
from tests.demo import server
from tests.demo.rest import Person
from tests.demo.test_walk import free_address
from tests.lab import Lab, LabHost


@pytest.fixture(scope="package")
def site(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A served Tidegate on SQLite."""
    home = tmp_path_factory.mktemp("conformance") / "home"
    address = free_address()
    admin = Person(f"http://{address}", "admin", server.initialise(home))
    process = server.start(home, address)
    site = Site(admin, admin.post("/projects", {"name": "conformance"})["id"], lab, home=home)
    try:
        yield site
    finally:
        server.stop(process.pid)
        for host in site.hosts:
            host.remove()


@pytest.fixture(scope="package")
def shared(site: Site) -> tuple[LabHost, str]:
    """The host that most tests release to."""
    return site.host("shared")


@pytest.fixture(params=["compose"])
def runtime(request: pytest.FixtureRequest) -> ComposeHosts:
    """The runtime under test."""
    return ComposeHosts()
