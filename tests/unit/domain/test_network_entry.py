# SPDX-License-Identifier: Apache-2.0
"""What may be asked for of a network entry; and that the automation side reads it in the same way."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from controlplane.domain import network_entry as rules
from controlplane.domain.errors import Problem
from controlplane.domain.network_entry import Node

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "collections"))

from ansible_collections.tidegate.deploy.plugins.module_utils.network_entry import (
    parameters,
)
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import (
    ReleaseError,
)

NODES = [Node("a", "192.0.2.11"), Node("b", "192.0.2.12"), Node("c", "192.0.2.13"), Node("d", "192.0.2.14")]
ASKED: dict[str, Any] = {
    "vip_address": "192.0.2.240/24",
    "virtual_router_id": 51,
    "backend_nodes": [{"host": "a"}, {"host": "b", "weight": 3}],
}


def check(networks: dict[str, Any] | None = None, nodes: list[Node] | None = None, **more: Any) -> Any:
    return rules.check({**ASKED, **more}, nodes or NODES, networks or {})


def parse(found: dict[str, Any], networks: dict[str, Any] | None = None) -> parameters.Entry:
    nodes = [{"host": node.host, "address": node.address, "role": node.role} for node in NODES]
    return parameters.parse(
        {
            "api": parameters.API,
            "entry_id": "cls_1",
            "nodes": nodes,
            "cluster_networks": networks,
            "lvs_vip": found,
        }
    )


def test_what_is_left_out_has_the_defaults_of_the_contract() -> None:
    found = check()
    assert found["lb_kind"] == "DR" and found["lb_algo"] == "rr" and found["unicast"] is True
    assert found["health_check_port"] == 6443 and found["health_check"]["kind"] == "tcp"
    assert found["retry_policy"] == {"max_retries": 3, "backoff_seconds": 20}
    assert found["directors"] == ["a", "b", "c"]
    assert found["backend_nodes"] == [{"host": "a", "weight": 1}, {"host": "b", "weight": 3}]


def test_control_planes_are_the_directors() -> None:
    nodes = [*NODES[:2], Node("p", "192.0.2.15", "control_plane")]
    assert check(nodes=nodes)["directors"] == ["p"]


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"auth_pass": "secret.8", "ports": [80, 443, 6443], "interface": "eth0"},
        {"lb_kind": "NAT", "lb_algo": "wlc", "unicast": False, "nopreempt": True, "advert_interval": 0.5},
        {"health_check": {"kind": "https", "path": "/healthz", "interval": 5}, "balancer": "none"},
        {"directors": ["d", "a"], "certificate_check": "required", "listen_seconds": 0.5},
    ],
)
def test_the_automation_side_takes_what_is_let_through(more: dict[str, Any]) -> None:
    found = check(**more)
    entry = parse(found)
    assert [one.host for one in entry.directors] == found["directors"]
    assert {one.host: one.weight for one in entry.backends} == {"a": 1, "b": 3}
    assert (entry.vip, entry.lb_kind, entry.lb_algo) == (
        found["vip_address"],
        found["lb_kind"],
        found["lb_algo"],
    )
    assert entry.ports == (6443, *found["ports"])
    assert (entry.auth_pass, entry.advert_interval) == (found["auth_pass"], found["advert_interval"])


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"vip_address": "192.0.2.240"}, "validation_error"),
    ({"vip_address": "192.0.2.0/24"}, "validation_error"),
    ({"vip_address": "224.0.0.18/24"}, "validation_error"),
    ({"vip_address": "192.0.2.240/31"}, "validation_error"),
    ({"vip_address": "192.0.2.240/24\n}"}, "validation_error"),
    ({"vip_address": 7}, "validation_error"),
    ({"virtual_router_id": 0}, "validation_error"),
    ({"virtual_router_id": 256}, "validation_error"),
    ({"virtual_router_id": True}, "validation_error"),
    ({"auth_pass": "nine.long"}, "validation_error"),
    ({"auth_pass": 'a"b'}, "validation_error"),
    ({"auth_pass": "a\nb"}, "validation_error"),
    ({"auth_pass": "a}b"}, "validation_error"),
    ({"auth_pass": "a b"}, "validation_error"),
    ({"interface": "eth0\n}"}, "validation_error"),
    ({"interface": "eth0 {"}, "validation_error"),
    ({"interface": "a-name-that-is-too-long"}, "validation_error"),
    ({"health_check": {"path": "/ready z"}}, "validation_error"),
    ({"health_check": {"kind": "icmp"}}, "validation_error"),
    ({"health_check_port": 0}, "validation_error"),
    ({"ports": [70000]}, "validation_error"),
    ({"lb_kind": "dr"}, "validation_error"),
    ({"lb_algo": "sh"}, "validation_error"),
    ({"unicast": "yes"}, "validation_error"),
    ({"advert_interval": 0}, "validation_error"),
    ({"auth_pass": "secret", "advert_interval": 0.5}, "validation_error"),
    ({"retry_policy": {"max_retries": 11}}, "validation_error"),
    ({"directors": ["a", "b", "c", "d"]}, "validation_error"),
    ({"directors": ["nobody"]}, "validation_error"),
    ({"directors": ["a", "a"]}, "validation_error"),
    ({"backend_nodes": [{"host": "a"}]}, "backend_nodes_invalid"),
    ({"backend_nodes": [{"host": "a"}, {"host": "a"}]}, "backend_nodes_invalid"),
    ({"backend_nodes": [{"host": "a"}, {"host": "nobody"}]}, "backend_nodes_invalid"),
    ({"backend_nodes": [{"host": "a"}, {"host": "b", "weight": 0}]}, "validation_error"),
    ({"vip_address": "198.51.100.9/24"}, "backend_nodes_invalid"),
    ({"vip_address": "192.0.2.12/24"}, "vip_conflict"),
]


@pytest.mark.parametrize(("wrong", "key"), WRONG)
def test_what_is_wrong_is_refused_by_both_sides(wrong: dict[str, Any], key: str) -> None:
    with pytest.raises(Problem) as refused:
        check(**wrong)
    assert refused.value.error_key == key
    with pytest.raises(ReleaseError) as there:
        parse({**ASKED, **wrong})
    assert there.value.error_key == key


@pytest.mark.parametrize("name", ["pod", "service"])
def test_a_vip_in_a_network_of_the_cluster_is_refused_by_both_sides(name: str) -> None:
    networks = {name: "192.0.2.192/26"}
    with pytest.raises(Problem, match="vip_conflict"):
        check(networks)
    with pytest.raises(ReleaseError) as there:
        parse(ASKED, networks)
    assert there.value.error_key == "vip_conflict"


def test_no_message_repeats_the_password() -> None:
    with pytest.raises(Problem) as refused:
        check(auth_pass="canary-longer", virtual_router_id=0)
    assert "canary" not in str(refused.value.document())
    assert set(refused.value.errors) == {"lvs_vip.auth_pass", "lvs_vip.virtual_router_id"}


def test_what_is_shown_says_only_whether_there_is_a_password() -> None:
    shown = rules.shown(check(auth_pass="canary8x"))
    assert "canary8x" not in str(shown) and shown["has_auth_pass"] is True
    assert rules.shown(check())["has_auth_pass"] is False


def test_a_host_registered_by_name_is_refused() -> None:
    with pytest.raises(Problem, match="no IPv4 address"):
        check(nodes=[Node("a", "a.example"), NODES[1]])


def test_a_worker_that_is_only_led_to_the_vip_needs_no_address() -> None:
    worker = Node("w", "w.example", "worker")
    assert check(nodes=[*NODES, worker])["backend_nodes"] == check()["backend_nodes"]
    with pytest.raises(Problem, match="no IPv4 address"):
        check(nodes=[*NODES, worker], backend_nodes=[{"host": "a"}, {"host": "w"}])


@pytest.mark.parametrize(
    ("stages", "stage"),
    [
        ([], "production"),
        (["development"], "development"),
        (["development", "staging"], "staging"),
        (["production", "development"], "production"),
    ],
)
def test_the_strictest_stage_counts_and_none_is_production(stages: list[str], stage: str) -> None:
    assert rules.strictest_stage(stages) == stage


@pytest.mark.parametrize(
    ("entry", "directors", "is_good"),
    [
        ({"status": "ready", "active_node": "a"}, ["a", "b"], True),
        ({"status": "ready", "active_node": "a"}, ["a"], False),
        ({"status": "failed", "active_node": None}, ["a", "b"], False),
        ({"status": "degraded", "active_node": "a", "problems": [{"host": "b"}]}, ["a", "b"], False),
        ({"status": "degraded", "active_node": "a", "problems": [{"host": "b"}]}, ["a", "b", "c"], True),
    ],
)
def test_a_failover_is_tried_only_where_somebody_would_take_over(
    entry: dict[str, Any], directors: list[str], is_good: bool
) -> None:
    assert (rules.against_failover(entry, directors) is None) == is_good


def test_who_is_no_part_of_it_any_more_is_named() -> None:
    before = [{"host_id": "1", "name": "a"}, {"host_id": "2", "name": "b"}]
    assert rules.left_out(before, before[:1]) == ["b"]
    assert rules.left_out(before, before) == []
