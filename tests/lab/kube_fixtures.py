# SPDX-License-Identifier: Apache-2.0
"""The pytest plugin that gives tests a Kubernetes: load it with `pytest_plugins = ["tests.lab.kube_fixtures"]`.

- `kube_api` (session): a KubeApi, without a node. `kube_namespace`: a namespace in it that is this test's alone.
- `kube_cluster` (session): a KubeCluster, whose pods run. `kube_cluster_namespace`: one in it, deleted after.

Where programs are missing, what asks for them skips with a line that names them. With pytest-xdist each worker
has its own; `@pytest.mark.xdist_group("kube_cluster")` keeps tests of the slower one together.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from . import kube_assets
from .kube import KubeApi
from .kube_cluster import KubeCluster


@pytest.fixture(scope="session")
def kube_api() -> Iterator[KubeApi]:
    """An API server of this run's own, on loopback."""
    if absent := kube_assets.why_not():
        pytest.skip(absent)
    with KubeApi() as api:
        yield api


@pytest.fixture
def kube_namespace(kube_api: KubeApi) -> Iterator[str]:
    """The name of a namespace that is this test's alone."""
    name = kube_api.new_namespace()
    yield name
    kube_api.delete_namespace(name)


@pytest.fixture(scope="session")
def kube_cluster(request: pytest.FixtureRequest) -> Iterator[KubeCluster]:
    """A cluster of this run's own, with one node in the run's lab."""
    if absent := kube_assets.why_not(node=True):
        pytest.skip(absent)
    lab = request.getfixturevalue("lab")
    with KubeCluster(lab, f"kube-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}") as cluster:
        yield cluster


@pytest.fixture
def kube_cluster_namespace(kube_cluster: KubeCluster) -> Iterator[str]:
    """The name of a namespace of the cluster that is this test's alone."""
    name = kube_cluster.api.new_namespace()
    yield name
    kube_cluster.api.delete_namespace(name)
