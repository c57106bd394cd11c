# SPDX-License-Identifier: Apache-2.0
"""Each kind of check of a bundle's index tells what it found when that is not what was expected, and else nothing."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.bundle import index as indexes
from ansible_collections.tidegate.deploy.plugins.module_utils.environment import (
    checks,
    host_facts,
    host_network,
    preflight,
)
from ansible_collections.tidegate.deploy.plugins.module_utils.environment.journal import Journal

FACTS = {
    "kernel": "6.1.0-18-amd64", "cgroup_version": 2, "cgroup_controllers": ["cpu", "memory"], "memory_mb": 2000,
    "swap_mb": 0,
}  # fmt: skip
INPUTS = {
    "all": "0.0.0.0/0", "word": "x", "vip": "10.1.1.1/24", "own": "127.0.0.1/8", "other": "127.9.9.9",
    "inner": "192.0.2.128/25", "outer": "192.0.0.0/16", "free": "203.0.113.0/24", "six": "2001:db8:1::/64",
    "routed": "198.51.100.0/28", "neighbour": "192.0.2.7",
}  # fmt: skip


def held(kind: str, expect: dict[str, Any], skew: float = 0, **facts: Any) -> list[dict[str, Any]]:
    check = {"id": "c", "kind": kind, "expect": expect, "severity": "blocking", "message": "It is not so"}
    return checks.hold([check], {**FACTS, **facts}, INPUTS, skew)


GOOD: list[tuple[str, dict[str, Any]]] = [
    ("kernel", {"at_least": "5.10"}), ("kernel", {"at_least": "6.1"}),
    ("cgroup", {"controllers": ["cpu"], "version": 2}),
    ("disk", {"path": "/no/such/folder", "free_mb": 1}), ("memory", {"total_mb": 2000}),
    ("clock", {"within_seconds": 5}), ("swap", {"state": "off"}), ("file", {"path": "/etc", "state": "present"}),
    ("file", {"path": "/no/such", "state": "absent"}), ("command", {"argv": ["true"]}),
    ("command", {"argv": ["false"], "exit_code": 1}), ("address", {"input": "vip"}),
    ("subnet", {"input": "all", "free": False}), ("port", {"ports": [1], "protocol": "udp"}),
]  # fmt: skip
BAD: list[tuple[str, dict[str, Any]]] = [
    ("kernel", {"at_least": "6.2"}), ("kernel", {"at_least": "10.0"}), ("cgroup", {"controllers": ["pids"]}),
    ("cgroup", {"controllers": [], "version": 1}), ("disk", {"path": "/", "free_mb": 1 << 40}),
    ("memory", {"total_mb": 2001}), ("file", {"path": "/etc", "state": "absent"}),
    ("file", {"path": "/no/such", "state": "present"}), ("command", {"argv": ["false"]}),
    ("command", {"argv": ["/no/such/program"]}), ("command", {"argv": ["sleep", "5"], "timeout": 1}),
    ("address", {"input": "word"}), ("address", {"input": "missing"}), ("subnet", {"input": "word"}),
    ("address", {"input": "own", "free": True}), ("address", {"input": "other", "free": True}),
    ("subnet", {"input": "all"}),
    ("kernel_module", {"modules": ["no_such_module"]}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "expect"), GOOD)
def test_what_is_as_expected_is_not_told(kind: str, expect: dict[str, Any]) -> None:
    assert held(kind, expect) == []


@pytest.mark.parametrize(("kind", "expect"), BAD)
def test_what_is_otherwise_is_told(kind: str, expect: dict[str, Any]) -> None:
    (told,) = held(kind, expect)
    assert (told["level"], told["code"]) == ("blocking", "preflight_failed")
    assert told["message"] == f"It is not so: {told['found']}"
    assert told["found"]


def test_a_clock_that_is_a_day_off_and_swap_are_told() -> None:
    for skew in (86400.0, -86400.0):
        assert "86400 s" in held("clock", {"within_seconds": 60}, skew)[0]["message"]
    assert held("swap", {"state": "off"}, swap_mb=512)[0]["found"] == "512 MB"


def test_a_port_that_is_taken_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        assert held("port", {"ports": [port]}) == []
        taken.listen()
        assert held("port", {"ports": [port]})[0]["found"] == f"tcp {port}"
    assert held("port", {"ports": [port]}) == []


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A host with two interfaces and routes beside; nothing takes a connection. Answers which addresses were tried."""
    said: dict[str, Any] = {
        "address": [
            {"ifname": "eth0", "addr_info": [{"local": "192.0.2.5", "prefixlen": 24}]},
            {"ifname": "eth1", "addr_info": [{"local": "2001:db8:1::5", "prefixlen": 64}, {}]},
        ],
        "-4": [{"dst": "default", "dev": "eth0"}, {"dst": "198.51.100.0/24", "dev": "tun0"}],
        "-6": [{"dst": "default", "dev": "eth1"}, {"dst": "2001:db8:1::/64", "dev": "eth1"}],
        "neighbour": [
            {"dst": "192.0.2.7", "dev": "eth0", "lladdr": "02:00:00:00:00:07", "state": ["REACHABLE"]}
        ],
    }
    tried: list[str] = []

    def run(_ip: str, _json: str, *words: str) -> subprocess.CompletedProcess[str]:
        found = said[words[0]]
        if words[0] == "neighbour":
            found = [one for one in found if one["dst"] == words[-1]]
        return subprocess.CompletedProcess(words, 0, json.dumps(found), "")

    def connect(address: tuple[str, int], timeout: float) -> None:
        tried.append(address[0])
        raise TimeoutError

    monkeypatch.setattr(host_network, "run", run)
    monkeypatch.setattr(host_network.socket, "create_connection", connect)
    return tried


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("inner", "192.0.2.5/24 of eth0"), ("outer", "192.0.2.5/24 of eth0"), ("free", None),
        ("routed", "the route to 198.51.100.0/24 by tun0"), ("six", "2001:db8:1::5/64 of eth1"),
    ],
)  # fmt: skip
def test_a_network_is_free_where_no_address_and_no_route_meets_it(
    network: list[str], name: str, found: str | None
) -> None:
    told = held("subnet", {"input": name})
    assert [found in one["found"] for one in told] == ([True] if found else [])
    assert held("subnet", {"input": name, "free": False}) == []


def test_an_address_is_free_where_no_interface_has_it_and_nothing_answers(network: list[str]) -> None:
    assert held("address", {"input": "vip", "free": True}) == []
    assert network == ["10.1.1.1"]
    assert held("address", {"input": "neighbour", "free": True})[0]["found"] == "192.0.2.7 answers"
    assert held("address", {"input": "neighbour"}) == []


def test_where_the_networks_cannot_be_read_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.CompletedProcess(["ip"], 127, "", "ip is not there")
    monkeypatch.setattr(host_network, "run", lambda *_: failed)
    for kind, name in (("subnet", "free"), ("address", "vip")):
        assert "ip is not there" in held(kind, {"input": name, "free": True})[0]["found"]


def test_the_host_is_read_without_changing_it() -> None:
    facts = host_facts.read("/no/such/folder")
    assert facts["memory_mb"] > 100
    assert facts["disk_mb"] >= 0
    assert facts["arch"] in ("amd64", "arm64")
    assert "memory" in facts["cgroup_controllers"]
    assert not Path("/no/such/folder").exists()


def test_every_kind_of_the_schema_can_be_held() -> None:
    kinds = indexes.schema()["$defs"]["check"]["properties"]["kind"]["enum"]
    assert set(kinds) == set(checks._KINDS)


def test_what_listens_on_a_node_of_ours_does_not_stand_in_the_way(tmp_path: Path) -> None:
    asked = [{"id": "ports", "kind": "port"}, {"id": "disk", "kind": "disk"}]
    journal = Journal(str(tmp_path / "journal.json"))
    assert preflight._asked(asked, journal) == asked
    journal.note("control_plane_init", "kubeadm", "node", done=False)
    assert preflight._asked(asked, journal) == asked[1:]
    own = {"id": "pods", "kind": "subnet", "expect": {"input": "pod_subnet"}}
    assert preflight._asked([own], journal)[0]["expect"] == {"input": "pod_subnet", "free": False}
