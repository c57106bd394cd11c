# SPDX-License-Identifier: Apache-2.0
"""One server for the whole suite, and one place a runtime; a test that breaks its host makes one of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance.runtimes import OnApiServer, OnCluster, OnCompose, Runtime
from tests.conformance.site import ComposeHosts, Site
from tests.demo import server
from tests.demo.rest import Person
from tests.demo.test_walk import free_address
from tests.lab import Lab, LabHost
from tests.lab.kube import KubeApi
from tests.lab.kube_cluster import KubeCluster

RUNTIMES = ("compose", "k8s-api", "k8s")
# The lab's API server listens where a real one never would.
# Canaries that wait are looked at more often than they would be, so that tests need not wait for it.
SETTINGS = 'cluster_address_allow = ["127.0.0.0/8"]\ncanary_watch_seconds = 3\n'


@pytest.fixture(scope="package")
def site(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A served Tidegate on SQLite."""
    home = tmp_path_factory.mktemp("conformance") / "home"
    address = free_address()
    admin = Person(f"http://{address}", "admin", server.initialise(home))
    (home / "tidegate.toml").write_text(SETTINGS)
    process = server.start(home, address)
    site = Site(admin, admin.post("/projects", {"name": "conformance"})["id"], lab, home=home)
    try:
        yield site
    finally:
        server.stop(process.pid)
        for host in site.hosts:
            host.remove()


@pytest.fixture(autouse=True)
def quiet(request: pytest.FixtureRequest) -> Iterator[None]:
    """Leave no application at work when a test is over: dozens of them would slow down all that come after it."""
    site: Site | None = request.getfixturevalue("site") if "site" in request.fixturenames else None
    yield
    if site is not None:
        site.quiet()


@pytest.fixture(scope="package")
def shared(site: Site) -> tuple[LabHost, str]:
    """The host that most tests release to."""
    return site.host("shared")


@pytest.fixture
def hosts() -> ComposeHosts:
    """What is seen on hosts."""
    return ComposeHosts()


@pytest.fixture(scope="package")
def on_compose(site: Site, shared: tuple[LabHost, str]) -> OnCompose:
    """Compose on the host."""
    return OnCompose(site, shared)


@pytest.fixture(scope="package")
def on_api_server(site: Site, kube_api: KubeApi) -> OnApiServer:
    """An API server without a node."""
    return OnApiServer(site, kube_api)


@pytest.fixture(scope="package")
def on_cluster(site: Site, kube_cluster: KubeCluster, lab: Lab) -> OnCluster:
    """A cluster whose pods run."""
    return OnCluster(site, kube_cluster, lab)


@pytest.fixture(
    params=[
        pytest.param(name, marks=[pytest.mark.kubernetes] if name != "compose" else []) for name in RUNTIMES
    ]
)
def runtime(request: pytest.FixtureRequest) -> Runtime:
    """Each runtime in turn; one that cannot be had here skips, naming what is missing."""
    fixture = {"compose": "on_compose", "k8s-api": "on_api_server", "k8s": "on_cluster"}[request.param]
    found: Runtime = request.getfixturevalue(fixture)
    return found
