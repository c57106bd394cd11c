# SPDX-License-Identifier: Apache-2.0
"""Three control planes with stacked etcd: joined one after another, unchanged the second time, bare again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.automation import cluster_install
from tests.automation.cluster_install import TOKENS, cluster, is_ready, kubectl, nodes
from tests.automation.environment import left_behind, moved
from tests.lab import kubeadm
from tests.lab.host import LabHost
from tests.lab.lab import Lab

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.xdist_group("lab-bundle"),
    pytest.mark.timeout(2400),
    pytest.mark.skipif(bool(kubeadm.why_not()), reason=kubeadm.why_not()),
]


@pytest.fixture
def planes(lab: Lab) -> Iterator[list[LabHost]]:
    # The first is not the first in the alphabet.
    made = [cluster_install.bare(lab, f"planes-{name}") for name in ("c", "a", "b")]
    yield made
    for host in made:
        host.remove()


def test_three_control_planes(lab: Lab, planes: list[LabHost], tmp_path: Path) -> None:
    first = planes[0]
    environments = cluster(lab, tmp_path, *planes, planes=3)
    before = {host.name: left_behind(host) for host in planes}
    environments.run("install")
    found = nodes(tmp_path, first)
    assert {name: is_ready(one) for name, one in found.items()} == {host.name: True for host in planes}
    assert environments.statuses(first, "install")["control_plane_init"] == "succeeded"
    assert {environments.statuses(one, "install")["control_plane_join"] for one in planes[1:]} == {
        "succeeded"
    }
    # Without a worker, pods go to control planes.
    assert all("taints" not in one["spec"] for one in found.values())
    etcd = ("-n", "kube-system", "-l", "component=etcd")
    # The API tells that a pod is ready a little after it is.
    kubectl(tmp_path, first, "wait", "--for=condition=Ready", "pod", *etcd, "--timeout=60s")
    where = kubectl(tmp_path, first, "get", "pods", *etcd, "-o", "jsonpath={.items[*].spec.nodeName}")
    assert sorted(where.split()) == sorted(host.name for host in planes)
    # Neither a token stays, nor the certificates that were handed over.
    assert kubectl(tmp_path, first, *TOKENS, "-o", "name") == ""

    again = environments.run("install")
    assert again.stdout.count("changed=0") == 3, again.stdout
    environments.run("rollback")
    assert {host.name: moved(host, before[host.name]) for host in planes} == {
        host.name: {} for host in planes
    }
