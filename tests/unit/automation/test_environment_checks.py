# SPDX-License-Identifier: Apache-2.0
"""Each kind of check of a bundle's index tells what it found when that is not what was expected, and else nothing."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.bundle import index as indexes
from ansible_collections.tidegate.deploy.plugins.module_utils.environment import checks, host_facts, preflight
from ansible_collections.tidegate.deploy.plugins.module_utils.environment.journal import Journal

FACTS = {
    "kernel": "6.1.0-18-amd64", "cgroup_version": 2, "cgroup_controllers": ["cpu", "memory"], "memory_mb": 2000,
    "swap_mb": 0,
}  # fmt: skip
INPUTS = {"net": "10.0.0.0/8", "all": "0.0.0.0/0", "word": "x", "vip": "10.1.1.1/24"}


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
