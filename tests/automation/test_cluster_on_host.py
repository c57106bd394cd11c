# SPDX-License-Identifier: Apache-2.0
"""A bare host becomes a one-node cluster from the bundle alone, stays as it is the second time, and is bare again."""

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
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(kubeadm.why_not()), reason=kubeadm.why_not()),
]

STEPS = (
    "bundle_delivery",
    "container_runtime",
    "kubernetes_node",
    "control_plane_init",
    "cluster_network",
    "cluster_ready",
)


@pytest.fixture
def bare(lab: Lab) -> Iterator[LabHost]:
    made = cluster_install.bare(lab, "cluster-bare")
    yield made
    made.remove()


def test_a_bare_host_becomes_a_cluster_and_is_bare_again(lab: Lab, bare: LabHost, tmp_path: Path) -> None:
    environments = cluster(lab, tmp_path, bare)
    before = left_behind(bare)
    environments.run("preflight")
    told = environments.result(bare, "preflight")
    assert [one for one in told["checks"] if one["level"] == "blocking"] == []
    assert {one["step"]: one["action"] for one in told["plan"]} == dict.fromkeys(STEPS, "run")
    assert moved(bare, before) == {}

    environments.run("install")
    assert environments.statuses(bare, "install") == {
        **dict.fromkeys(STEPS, "succeeded"), "cluster_ready": "unchanged",
    }  # fmt: skip
    assert {name: is_ready(one) for name, one in nodes(tmp_path, bare).items()} == {bare.name: True}
    assert kubectl(tmp_path, bare, *TOKENS, "-o", "name") == ""

    again = environments.run("install")
    assert "changed=0" in again.stdout, again.stdout
    assert set(environments.statuses(bare, "install").values()) == {"unchanged"}
    environments.run("health")
    checks = environments.result(bare, "health")["checks"]
    assert {one["check"]: one["healthy"] for one in checks} == dict.fromkeys(
        ("containerd", "kubelet", "api_server", "nodes"), True
    )

    environments.run("rollback")
    assert moved(bare, before) == {}
    assert "changed=0" in environments.run("rollback").stdout
