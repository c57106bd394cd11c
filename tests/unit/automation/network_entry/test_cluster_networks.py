# SPDX-License-Identifier: Apache-2.0
"""The networks that a cluster gives out itself are read where its control plane was told them."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.environment import static_pods
from ansible_collections.tidegate.deploy.plugins.module_utils.network_entry import cluster_networks


@pytest.fixture
def manifests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(static_pods, "FOLDER", str(tmp_path))
    monkeypatch.setattr(static_pods, "_AWAY", str(tmp_path / "away"))
    return tmp_path


def test_of_a_control_plane(manifests: Path) -> None:
    (manifests / "kube-apiserver.yaml").write_text(
        "    - --secure-port=6443\n    - --service-cluster-ip-range=10.96.0.0/12,fd00::/112\n"
    )
    (manifests / "kube-controller-manager.yaml").write_text("    - --cluster-cidr=10.244.0.0/16\n")
    found = cluster_networks.read()
    assert found == {"in_pod_network": ["10.244.0.0/16"], "in_service_network": ["10.96.0.0/12"]}
    assert cluster_networks.holding("10.97.1.1", found) == [["in_service_network", "10.96.0.0/12"]]
    assert cluster_networks.holding("192.0.2.1", found) == []


def test_of_a_host_that_is_none(manifests: Path) -> None:
    assert cluster_networks.read() == {"in_pod_network": [], "in_service_network": []}
