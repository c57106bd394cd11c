# SPDX-License-Identifier: Apache-2.0
"""What hosts say of themselves adds up to one verdict on the entry."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.network_entry import checks, parameters, verdict

from .documents import document


def live(holds: bool, **more: Any) -> dict[str, Any]:
    servers = [{"address": f"192.0.2.{10 + n}", "port": 6443, "given": 4} for n in range(3)]
    services = [{"address": "192.0.2.100", "port": 6443, "real_servers": servers}] if holds else []
    usual = {"installed": True, "vrrp": True, "holds_vip": holds, "balances": holds, "holds_quietly": True}
    return {**usual, "settings_kept": True, "services": services, **more}


OUTSIDE = {"vip_fault": "", "backend_faults": {}}


def judged(a: Any = None, b: Any = None, outside: Any = OUTSIDE, **lvs_vip: Any) -> dict[str, Any]:
    entry = parameters.parse(document(**lvs_vip))
    lives = {"a": live(True) if a is None else a, "b": live(False) if b is None else b, "c": live(False)}
    return verdict.of_entry(entry, lives, outside, counted=True)


def test_ready() -> None:
    found = judged()
    assert (found["status"], found["active_node"], found["problems"]) == ("ready", "a", [])
    assert [one["ports"][0]["given"] for one in found["backends"]] == [4, 4, 4]


@pytest.mark.parametrize(
    ("hosts", "key", "reason", "status"),
    [
        ({"b": live(True)}, "vip_conflict", "two_holders", "failed"),
        ({"a": live(False)}, "vip_unreachable", "no_holder", "failed"),
        ({"b": live(False, balances=True)}, "vip_conflict", "standby_balances", "failed"),
        ({"a": live(True, balances=False)}, "vip_unreachable", "active_does_not_balance", "failed"),
        ({"b": live(False, vrrp=False)}, "vip_unreachable", "vrrp_stopped", "degraded"),
        ({"b": live(False, settings_kept=False)}, "preflight_failed", "real_server_settings_lost", "failed"),
        ({"b": live(False, installed=False)}, "preflight_failed", "not_installed", "failed"),
        ({"outside": {**OUTSIDE, "vip_fault": "timed out"}}, "vip_unreachable", "vip_does_not_answer", "failed"),
        ({"outside": {**OUTSIDE, "backend_faults": {"192.0.2.12": "refused"}}}, "backend_nodes_invalid",
         "backend_dead", "degraded"),
    ],
)  # fmt: skip
def test_each_fault(hosts: dict[str, Any], key: str, reason: str, status: str) -> None:
    found = judged(**hosts)
    assert found["status"] == status
    assert (key, reason) in [(one["code"], one["reason"]) for one in found["problems"]]


def test_a_back_end_out_of_the_table_is_dead_and_one_without_connections_was_not_reached() -> None:
    active = live(True)
    servers = active["services"][0]["real_servers"]
    servers[1]["given"] = 0
    del servers[2]
    reasons = {one["host"]: one["reason"] for one in judged(a=active)["problems"]}
    assert reasons == {"b": "backend_not_reached", "c": "backend_dead"}


def facts(**more: Any) -> dict[str, Any]:
    usual = {
        "is_root": True, "has_systemd": True, "interface": "eth0", "interfaces": {"eth0": ["192.0.2.10/24"]},
        "vip_devices": [], "modules_missing": [], "foreign_keepalived": [], "virtual_services": [],
        "kube_proxy": {"ipvs": False, "strict_arp": False}, "certificates": {}, "answers": {}, "adverts": [],
        "cluster_networks": {},
    }  # fmt: skip
    return {**usual, **more}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, None),
        ({"is_root": False}, ("blocking", "preflight_failed", "not_root")),
        ({"has_systemd": False}, ("blocking", "preflight_failed", "no_systemd")),
        ({"kube_proxy": {"ipvs": True, "strict_arp": False}}, ("blocking", "preflight_failed", "kube_proxy_ipvs")),
        ({"kube_proxy": {"ipvs": True, "strict_arp": True}}, ("warning", "preflight_failed", "kube_proxy_ipvs")),
        ({"virtual_services": [{"address": "192.0.2.100", "port": 6443}]},
         ("blocking", "vip_conflict", "virtual_service_exists")),
        ({"modules_missing": ["ip_vs"]}, ("blocking", "kernel_module_missing", "modules_not_loadable")),
        ({"interfaces": {"eth0": ["192.0.2.77/24"]}}, ("blocking", "vip_unreachable", "node_address_missing")),
        ({"cluster_networks": {"in_pod_network": ["192.0.2.0/25"], "in_service_network": ["10.96.0.0/12"]}},
         ("blocking", "vip_conflict", "in_pod_network")),
        ({"cluster_networks": {"in_pod_network": ["10.244.0.0/16"], "in_service_network": ["192.0.2.96/28"]}},
         ("blocking", "vip_conflict", "in_service_network")),
    ],
)  # fmt: skip
def test_checks(changed: dict[str, Any], expected: Any) -> None:
    found = checks.of_facts(parameters.parse(document()), "a", facts(**changed), False, False)
    assert [(one["level"], one["code"], one["reason"]) for one in found] == ([expected] if expected else [])


UNNAMED = {"192.0.2.10": "it does not name the VIP"}


@pytest.mark.parametrize(
    ("check", "changed", "expected"),
    [
        ("warned", {"certificates": UNNAMED}, ("warning", "certificate_without_vip")),
        ("required", {"certificates": UNNAMED}, ("blocking", "certificate_without_vip")),
        ("renewed", {"certificates": UNNAMED, "kubeadm_made": True}, ("warning", "certificate_renewed")),
        ("renewed", {"certificates": UNNAMED, "kubeadm_made": False}, ("warning", "certificate_not_renewable")),
        ("renewed", {"certificates": {"192.0.2.10": "no TLS"}, "kubeadm_made": True},
         ("blocking", "certificate_not_renewable")),
        ("renewed", {"certificates": {"192.0.2.10": ""}, "kubeadm_made": True}, None),
    ],
)  # fmt: skip
def test_certificates(check: str, changed: dict[str, Any], expected: Any) -> None:
    entry = parameters.parse(document(certificate_check=check))
    found = checks.of_facts(entry, "a", facts(**changed), False, False)
    assert [(one["level"], one["reason"]) for one in found] == ([expected] if expected else [])
    assert {one["code"] for one in found} <= {"certificate_invalid"}


def test_a_node_without_a_part_in_the_entry_is_none_of_its_faults() -> None:
    given = document()
    given["lvs_vip"] |= {"backend_nodes": ["a", "b"], "directors": ["a", "b"]}
    entry = parameters.parse(given)
    lives = {"a": live(True), "b": live(False), "c": live(False, installed=False)}
    assert verdict.of_entry(entry, lives, OUTSIDE)["problems"] == []
    assert verdict.of_entry(entry, {**lives, "c": None}, OUTSIDE)["problems"] == []


@pytest.mark.parametrize(
    ("seen", "reasons"),
    [
        (None, ["node_not_led"]),
        (live(False, installed=False, is_led=False), ["node_not_led"]),
        (live(False, installed=False, is_led=True), []),
    ],
)
def test_a_node_that_an_apply_went_on_without_is_told_of_until_it_is_led(
    seen: Any, reasons: list[str]
) -> None:
    given = document()
    given["lvs_vip"] |= {"backend_nodes": ["a", "b"], "directors": ["a", "b"]}
    lives = {"a": live(True), "b": live(False), "c": seen}
    found = verdict.of_entry(parameters.parse(given), lives, OUTSIDE, not_led=["c"])
    assert [one["reason"] for one in found["problems"]] == reasons
    assert found["status"] == ("degraded" if reasons else "ready")


def test_clocks() -> None:
    assert checks.clock_skew(100.0, 101.0) == []
    assert checks.clock_skew(110.0, 100.0)[0]["level"] == "warning"
    assert checks.clock_skew(10.0, 100.0)[0]["level"] == "blocking"


def test_own_directors_are_no_strangers() -> None:
    entry = parameters.parse(document())
    heard = facts(
        answers={"192.0.2.100": ["02:00:00:00:00:0b"], "192.0.2.11": ["02:00:00:00:00:0b"]},
        adverts=[{"virtual_router_id": 51, "source": "192.0.2.11"}],
    )
    assert checks.of_facts(entry, "a", heard, True, True) == []
    assert [one["reason"] for one in checks.of_facts(entry, "a", heard, False, False)] == [
        "vip_answers", "virtual_router_id_heard"
    ]  # fmt: skip
