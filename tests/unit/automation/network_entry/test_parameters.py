# SPDX-License-Identifier: Apache-2.0
"""What is no parameter of a network entry is refused, with the key that says why, and never rendered."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.network_entry import (
    keepalived_config,
    parameters,
)
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError
from hypothesis import given
from hypothesis import strategies as st

from .documents import document

HOSTILE = (
    "x\ny",
    "x}",
    "{x",
    'x"y',
    "x'y",
    "x y",
    "x#y",
    "x!y",
    "$x",
    "x\\y",
    "x\0",
    "@x",
    "~x",
    "x\ty",
    "é",
)


def refused(wanted: dict[str, Any]) -> ReleaseError:
    with pytest.raises(ReleaseError) as caught:
        parameters.parse(wanted)
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize(
    "name", ["auth_pass", "interface", "vip_address", "lb_algo", "lb_kind", "virtual_router_id"]
)
def test_hostile_values(name: str, value: str) -> None:
    assert refused(document(**{name: value})).error_key == "validation_error"


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_names_of_hosts_and_ports(value: str) -> None:
    wanted = document()
    wanted["nodes"][0]["host"] = value
    assert refused(wanted).error_key == "validation_error"
    assert refused(document(ports=[value])).error_key == "validation_error"
    assert (
        refused(document(health_check={"kind": "https", "path": "/" + value})).error_key == "validation_error"
    )
    assert refused(document(backend_nodes=["a", value])).error_key == "backend_nodes_invalid"
    assert refused({**document(), "entry_id": value}).error_key == "validation_error"


@pytest.mark.parametrize(
    "wrong",
    [
        {"virtual_router_id": 0}, {"virtual_router_id": 256}, {"virtual_router_id": True},
        {"virtual_router_id": None}, {"virtual_router_id": "51"}, {"vip_address": "192.0.2.100"},
        {"vip_address": "192.0.2.0/24"}, {"vip_address": "192.0.2.255/24"}, {"vip_address": "127.0.0.1/8"},
        {"vip_address": "224.0.0.1/24"}, {"vip_address": "192.0.2.1/32"}, {"vip_address": None},
        {"vip_address": "fd00::1/64"}, {"vip_address": "192.0.2.1/255.255.255.0 "},
        {"lb_kind": "dr"}, {"lb_algo": "sh"}, {"advert_interval": 0}, {"advert_interval": 0.5},
        {"advert_interval": 300}, {"unicast": "yes"}, {"nopreempt": 1}, {"health_check_port": 0},
        {"health_check_port": 65536}, {"ports": 80}, {"directors": []}, {"directors": ["a", "a"]},
        {"directors": ["z"]}, {"directors": list("abcd")}, {"retry_policy": {"max_retries": -1}},
        {"retry_policy": {"tries": 3}}, {"balancer": "haproxy"}, {"colour": "red"}, {"interface": "a" * 16},
        {"interface": "../x"}, {"interface": "-x"}, {"health_check": {"kind": "icmp"}}, {"listen_seconds": 0},
        {"certificate_check": "no"},
    ],
)  # fmt: skip
def test_each_wrong_value(wrong: dict[str, Any]) -> None:
    error = refused(document(hosts=4, **wrong))
    assert error.error_key == "validation_error"
    assert next(iter(wrong)).split("_")[0] in str(error) or error.detail["parameter"]


def test_a_long_password_is_refused_and_not_cut_nor_told() -> None:
    assert parameters.parse(document(auth_pass="12345678")).auth_pass == "12345678"
    error = refused(document(auth_pass="canary789"))
    assert error.detail["parameter"] == "auth_pass"
    assert "canary" not in str(error)


@pytest.mark.parametrize("wrong", [[], ["a"], ["a", "a"], ["a", "z"], "ab", None, ["a", {"host": "q"}]])
def test_backends(wrong: Any) -> None:
    assert refused(document(backend_nodes=wrong)).error_key == "backend_nodes_invalid"


def test_direct_routing_needs_one_segment() -> None:
    wanted = document()
    wanted["nodes"][2]["address"] = "198.51.100.4"
    assert refused(wanted).error_key == "backend_nodes_invalid"
    wanted["lvs_vip"]["lb_kind"] = "TUN"
    assert parameters.parse(wanted).lb_kind == "TUN"


@pytest.mark.parametrize(
    ("vip", "reason"),
    [
        ("192.0.2.11/24", "is_node_address"),
        ("10.244.3.3/24", "in_pod_network"),
        ("10.97.0.1/24", "in_service_network"),
    ],
)
def test_addresses_that_are_somebodys(vip: str, reason: str) -> None:
    error = refused(document(vip_address=vip, lb_kind="TUN"))
    assert (error.error_key, error.detail["reason"]) == ("vip_conflict", reason)


def test_a_worker_without_an_ipv4_address_can_only_be_led_to_the_vip() -> None:
    wanted = document(hosts=4, backend_nodes=["a", "b"], directors=["a", "b"])
    wanted["nodes"][3] |= {"address": "worker.example", "role": "worker"}
    entry = parameters.parse(wanted)
    assert (entry.node("d"), [one.host for one in entry.nodes]) == (None, ["a", "b", "c"])
    wanted["nodes"][3]["role"] = "control_plane"
    assert refused(wanted).error_key == "validation_error"
    wanted["nodes"][3]["role"] = "worker"
    wanted["lvs_vip"]["backend_nodes"] = ["a", "d"]
    assert refused(wanted).error_key == "backend_nodes_invalid"


def test_control_planes_direct_unless_others_are_named() -> None:
    wanted = document(hosts=5)
    assert [one.host for one in parameters.parse(wanted).directors] == ["a", "b", "c"]
    for node in wanted["nodes"]:
        node["role"] = "control_plane" if node["host"] in "bd" else "worker"
    assert [one.host for one in parameters.parse(wanted).directors] == ["b", "d"]
    wanted["lvs_vip"]["directors"] = ["e"]
    assert [one.host for one in parameters.parse(wanted).directors] == ["e"]


WORD = st.text(max_size=9) | st.integers() | st.none() | st.booleans() | st.lists(st.text(max_size=3))


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(sorted(parameters.KNOWN), WORD)))
def test_any_value_is_either_refused_or_rendered_with_its_structure_whole(wanted: dict[str, Any]) -> None:
    try:
        entry = parameters.parse(document(**wanted))
    except ReleaseError:
        return
    said = keepalived_config.render(entry, "a", entry.interface or "eth0") if entry.priority("a") else ""
    assert said.count("{") == said.count("}")
    assert said.count('"') % 2 == 0
    assert said.isascii()
