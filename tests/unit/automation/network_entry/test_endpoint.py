# SPDX-License-Identifier: Apache-2.0
"""The control plane's name on a node is led to the VIP once the cluster answers there, and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.environment import (
    journal,
    own_files,
)
from ansible_collections.tidegate.deploy.plugins.module_utils.host import state_folder
from ansible_collections.tidegate.deploy.plugins.module_utils.network_entry import (
    endpoint,
    parameters,
    remembered,
)
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError

from .documents import document

NAME, DIRECT, VIP = "made.control-plane.internal", "192.0.2.10", "192.0.2.100"


class Node:
    """A node of a cluster that an install made."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hosts, self.state = folder / "hosts", folder / "state"
        self.hosts.write_text(f"127.0.0.1 localhost\n{DIRECT} {NAME}\n")
        kubelet = folder / "kubelet.conf"
        kubelet.write_text(f"clusters:\n- cluster:\n    server: https://{NAME}:6443\n")
        monkeypatch.setattr(own_files, "_HOSTS", str(self.hosts))
        monkeypatch.setattr(state_folder, "path", lambda name: str(self.state / name))
        monkeypatch.setattr(endpoint, "KUBELET", str(kubelet))
        monkeypatch.setattr(endpoint, "_ask", self._ask)
        self.fault, self.asked = ("", ""), list[tuple[str, int, str]]()
        self.write_journal(f"{DIRECT} {NAME}")

    def write_journal(self, *lines: str) -> None:
        entries = [
            {"step": "kubernetes_node", "kind": "hosts_line", "name": NAME, "line": one} for one in lines
        ]
        self.state.mkdir(exist_ok=True)
        (self.state / "environment.json").write_text(json.dumps({"entries": entries}))

    def _ask(self, address: str, port: int, name: str) -> tuple[str, str]:
        self.asked.append((address, port, name))
        return self.fault

    def lead(self, mode: str = "vip", **more: Any) -> dict[str, Any]:
        wanted = more.pop("document", None) or document()
        payload = {
            "document": wanted, "host": "a", "holder": "test", "mode": mode, "timeout": 0.0, "check_mode": False,
            "direct": DIRECT, **more,
        }  # fmt: skip
        self.steps: list[dict[str, Any]] = []
        return endpoint.lead(payload, self.steps)

    def leads_to(self) -> str:
        (line,) = [one for one in self.hosts.read_text().splitlines() if one.endswith(NAME)]
        return line.split()[0]


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    return Node(tmp_path, monkeypatch)


def test_it_leads_to_the_vip_and_back_and_nothing_stays(node: Node) -> None:
    assert node.lead() == {"changed": True}
    assert (node.leads_to(), node.asked) == (VIP, [(VIP, 6443, NAME)])
    assert [(one["step"], one["status"]) for one in node.steps] == [("endpoint", "succeeded")]
    assert node.steps[0]["detail"] == {"endpoint": NAME, "from": DIRECT, "to": VIP}
    assert node.lead() == {"changed": False} and len(node.asked) == 2
    assert node.lead("direct") == {"changed": True}
    assert node.leads_to() == DIRECT
    assert [one["step"] for one in node.steps] == ["endpoint_back"]
    assert [one.name for one in node.state.iterdir()] == ["environment.json"]
    assert node.lead("direct") == {"changed": False}


def test_the_install_takes_the_line_away_wherever_it_leads(node: Node) -> None:
    node.lead()
    journal.Journal().undo("kubernetes_node")
    assert node.hosts.read_text() == "127.0.0.1 localhost\n"


@pytest.mark.parametrize("key", ["vip_unreachable", "certificate_invalid"])
def test_it_stays_where_the_vip_does_not_answer(node: Node, key: str) -> None:
    node.fault = (key, "no")
    with pytest.raises(ReleaseError) as refused:
        node.lead()
    assert (refused.value.error_key, node.leads_to()) == (key, DIRECT)
    assert node.steps[-1]["status"] == "failed"
    assert not (node.state / "network_entry").exists()


def test_check_mode_changes_nothing(node: Node) -> None:
    assert node.lead(check_mode=True) == {"changed": True}
    assert node.leads_to() == DIRECT
    node.lead()
    assert node.lead("direct", check_mode=True) == {"changed": True}
    assert node.leads_to() == VIP


def test_what_no_install_wrote_is_left_alone(node: Node) -> None:
    node.write_journal()
    assert node.lead() == {"changed": False}
    assert (node.leads_to(), node.steps, node.asked) == (DIRECT, [], [])
    assert endpoint.plan(parameters.parse(document())) is None


def test_a_vip_that_does_not_serve_the_api_s_port_is_for_others(node: Node) -> None:
    other = document(health_check_port=443)
    assert node.lead(document=other) == {"changed": False}
    assert node.leads_to() == DIRECT
    assert node.lead(document=document(health_check_port=443, ports=[6443])) == {"changed": True}


def test_a_new_vip_is_come_to_by_the_direct_way(node: Node) -> None:
    node.lead()
    entry = parameters.parse(document(vip_address="192.0.2.101/24"))
    payload = {"holder": "test", "check_mode": False}
    assert endpoint.leaves(entry, {"vip": f"{VIP}/24", "ports": [6443]}) == VIP
    assert endpoint.back(entry, payload, [], stays=True)
    assert node.leads_to() == DIRECT
    node.lead()
    same = parameters.parse(document())
    assert endpoint.leaves(same, {"vip": f"{VIP}/24", "ports": [6443]}) is None
    assert not endpoint.back(same, payload, [], stays=True)
    assert node.leads_to() == VIP


def test_a_vip_that_serves_the_api_s_port_no_more_is_left(node: Node) -> None:
    node.lead()
    entry = parameters.parse(document(health_check_port=443))
    assert endpoint.leaves(entry, {"vip": f"{VIP}/24", "ports": [6443]}) == VIP
    assert endpoint.leaves(entry, {"vip": f"{VIP}/24", "ports": [443]}) is None, "nobody is led there"
    assert endpoint.leaves(entry, {}) is None
    assert endpoint.back(entry, {"holder": "test", "check_mode": False}, [], stays=True)
    assert node.leads_to() == DIRECT


def test_one_that_joined_through_the_vip_is_told_the_direct_way(node: Node) -> None:
    node.write_journal(f"{VIP} {NAME}")
    node.hosts.write_text(f"{VIP} {NAME}\n")
    assert node.lead("direct") == {"changed": True}
    assert node.leads_to() == DIRECT


def test_after_a_rollback_it_leads_to_the_vip_of_before(node: Node) -> None:
    told = {"vip": "192.0.2.101/24", "ports": [6443]}
    assert node.lead("restored") == {"changed": False}
    assert node.lead("restored", restores=told) == {"changed": True}
    assert node.leads_to() == "192.0.2.101"
    node.lead("direct")
    remembered.write({"current": {"vip": "192.0.2.102/24", "ports": [6443]}})
    assert node.lead("restored", restores=told) == {"changed": True}
    assert node.leads_to() == "192.0.2.102", "what the host itself knows"
    node.lead("direct")
    assert set(remembered.read()) == {"current"}
