# SPDX-License-Identifier: Apache-2.0
"""A bare host becomes a one-node cluster from the bundle alone, stays as it is the second time, and is bare again."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.automation.environment import Environments, left_behind, moved
from tests.lab import kube_assets, kubeadm
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
    made = lab.host("cluster-bare", docker=False)
    kubeadm.prepare(made)
    yield made
    made.remove()


def cluster(lab: Lab, folder: Path, *hosts: LabHost) -> Environments:
    environments = Environments(lab, folder, *hosts)
    environments.spec |= {
        "runtime_type": "k8s",
        "runtime_version": "1.36",
        "name": "one",
        "inputs": kubeadm.INPUTS,
        "nodes": [{"host": hosts[0].name, "role": "control_plane", "address": hosts[0].address}]
        + [{"host": one.name, "role": "worker", "address": one.address} for one in hosts[1:]],
    }
    return environments


def kubectl(folder: Path, host: LabHost, *words: str) -> str:
    """kubectl of this machine, with what the install fetched."""
    kept = json.loads((folder / f"{host.name}.cluster.json").read_text())["kubeconfig"]
    path = folder / "kubeconfig"
    path.write_text(kept)
    argv = [str(kube_assets.program("kubectl")), "--kubeconfig", str(path), *words]
    return subprocess.run(argv, capture_output=True, text=True, check=True, env=dict(os.environ)).stdout


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
    nodes = json.loads(kubectl(tmp_path, bare, "get", "nodes", "-o", "json"))["items"]
    ready = [
        one["status"] for node in nodes for one in node["status"]["conditions"] if one["type"] == "Ready"
    ]
    assert ready == ["True"]
    assert kubectl(tmp_path, bare, "get", "secrets", "-n", "kube-system", "-o", "name") == ""

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
