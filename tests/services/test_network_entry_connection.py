# SPDX-License-Identifier: Apache-2.0
"""A cluster that an install made is reached through its VIP once the entry is ready, and directly before it goes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from controlplane.domain.cluster import Ability, Connection
from controlplane.domain.errors import Problem
from controlplane.ports.cluster_probe import Examined, Reached
from controlplane.ports.runner import PlaybookRun, RunOutcome
from controlplane.services import (
    cluster_connection,
    clusters,
    install_spec,
    network_entry_check,
    network_entry_connection,
    tasks,
)
from controlplane.services.network_entries import SUBJECT
from controlplane.store import tables
from controlplane.store.pages import PageRequest
from tests.services.installation import HOST_KEY, Installation
from tests.services.test_network_entries import LVS_VIP, NAMES, Entries, add_cluster, found, operator

CA = "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"
DIRECT, VIP, OTHER = "https://192.0.2.10:6443", "https://192.0.2.240:6443", "https://192.0.2.241:6443"


@dataclass
class PlayedCluster:
    """A cluster that answers at some endpoints, and has some namespaces."""

    faults: dict[str, str] = field(default_factory=dict)
    namespaces: Sequence[str] = ("default", "shop")
    asked: list[str] = field(default_factory=list)

    def examine(self, connection: Connection) -> Examined:
        return Examined(connection, None)

    def reach(self, connection: Connection, timeout: float = 1.0) -> Reached:
        self.asked.append(connection.endpoint)
        fault = self.faults.get(connection.endpoint)
        if fault:
            raise Problem(fault, f"{connection.endpoint} says no")
        return Reached("v1.36.0", 1.0, datetime(2027, 1, 1, tzinfo=UTC))

    def abilities(
        self, connection: Connection, namespace: str | None, wanted: Sequence[Ability], timeout: float = 1.0
    ) -> dict[Ability, bool]:
        return dict.fromkeys(wanted, True)

    def has_namespace(self, connection: Connection, namespace: str, timeout: float = 1.0) -> bool:
        return namespace in self.namespaces


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> PlayedCluster:
    monkeypatch.setattr(network_entry_connection, "PAUSE_SECONDS", 0.0)
    return PlayedCluster()


@pytest.fixture
def entries(shop: Installation, played: PlayedCluster) -> Entries:
    return made(shop, played)


def made(shop: Installation, played: PlayedCluster) -> Entries:
    """A cluster that an install made, of three hosts; and one more host that is a node of it."""
    shop.core = replace(shop.core, cluster_probe=played)  # type: ignore[arg-type]
    add_cluster(shop, "development")
    kubeconfig = Connection(DIRECT, ca=CA, token="secret").kubeconfig()
    with shop.core.database.write() as session:
        cluster = session.get_one(tables.Cluster, "cls")
        cluster.mode, cluster.environment_id, cluster.ca = "platform_managed", "env_development", CA
        cluster.kubeconfig_cipher = shop.core.vault.encrypt(json.dumps(kubeconfig).encode())
        session.add(
            tables.Host(
                id="hst_wk", project_id="prj", name="wk", address="192.0.2.30", user="root", host_key=HOST_KEY,
                host_key_status="pinned", private_key_cipher=shop.core.vault.encrypt(b"key"),
                created_at=shop.clock.now(),
            )
        )  # fmt: skip
        session.flush()
        for name in (*NAMES, "wk"):
            role = "worker" if name == "wk" else "control_plane"
            session.add(
                tables.EnvironmentNode(environment_id="env_development", host_id=f"hst_{name}", role=role)
            )
    return Entries(shop)


def cluster(entries: Entries) -> dict[str, Any]:
    return clusters.get(entries.shop.core, operator(entries.shop), "cls")


def kept_endpoint(entries: Entries) -> str:
    """What a release would connect to."""
    with entries.shop.core.database.read() as session:
        row = session.get_one(tables.Cluster, "cls")
        return cluster_connection.opened(entries.shop.core, row).endpoint


def events_of(entries: Entries, resource_id: str) -> list[Mapping[str, Any]]:
    with entries.shop.core.database.read() as session:
        rows = session.query(tables.Event).filter_by(action="resource.updated", resource_id=resource_id)
        return [row.detail for row in rows.order_by(tables.Event.seq)]


def connection_step(task: dict[str, Any]) -> dict[str, Any]:
    (row,) = [one for one in task["steps"] if one["step"] == "connection"]
    assert row["host"] == "tidegate"
    return dict(row)


def roll_back(entries: Entries, removed: bool, **asked: Any) -> tuple[dict[str, Any], PlaybookRun]:
    task = entries.preview(kind="rollback", **asked)
    entries.start(task)
    entries.shop.clock.pass_(seconds=1)
    kind, run = entries.work("network_entry")
    assert kept_endpoint(entries) == DIRECT, "before the VIP is touched"
    kind.end(
        RunOutcome(
            "successful", 0, {f"{host.name}.rollback": {"live": {"removed": removed}} for host in run.hosts}
        )
    )
    entries.shop.clock.pass_(seconds=1)
    return entries.task(task), run


def test_it_goes_through_the_vip_and_says_so(entries: Entries) -> None:
    assert entries.show()["connection"] == {"endpoint": DIRECT, "through_vip": False, "direct_endpoint": None}
    task = entries.applied()
    assert task["state"] == "succeeded", task["diagnostics_json"]
    assert entries.show()["connection"] == {"endpoint": VIP, "through_vip": True, "direct_endpoint": DIRECT}
    shown = cluster(entries)
    assert (shown["endpoint"], shown["direct_endpoint"], shown["status"]) == (VIP, DIRECT, "ready")
    assert kept_endpoint(entries) == VIP
    row = connection_step(task)
    assert (row["status"], row["detail"]) == ("succeeded", {"endpoint": VIP, "endpoint_before": DIRECT})
    (told,) = events_of(entries, "cls")
    assert (told["endpoint"], told["endpoint_before"], told["through"]) == (VIP, DIRECT, "network_entry")
    assert (told["task"], told["targets_failing"]) == (task["task_id"], [])
    with entries.shop.core.database.read() as session:
        assert session.get_one(tables.Target, "tgt_cls").cluster_access["ok"] is True


def test_a_target_that_fails_there_is_marked(entries: Entries, played: PlayedCluster) -> None:
    played.namespaces = ()
    assert entries.applied()["state"] == "succeeded"
    (told,) = events_of(entries, "cls")
    assert told["targets_failing"] == ["on-cls"]
    (marked,) = events_of(entries, "tgt_cls")
    assert marked["cluster_access"]["error_key"] == "namespace_missing"


@pytest.mark.parametrize("fault", ["certificate_invalid", "cluster_unreachable"])
def test_what_does_not_answer_fails_the_step_and_leaves_the_connection(
    entries: Entries, played: PlayedCluster, fault: str
) -> None:
    played.faults[VIP] = fault
    task = entries.applied()
    assert (task["state"], task["diagnostics_json"]["error_key"]) == ("failed", fault)
    assert connection_step(task)["status"] == "failed"
    assert played.asked.count(VIP) == (3 if fault == "cluster_unreachable" else 1)
    assert (kept_endpoint(entries), cluster(entries)["direct_endpoint"]) == (DIRECT, None)
    assert entries.show()["status"] == "failed" and cluster(entries)["status"] == "ready"
    played.faults.clear()
    tasks.retry(entries.shop.core, operator(entries.shop), SUBJECT, task["task_id"], "cls")
    kind, run = entries.work("network_entry")
    kind.end(RunOutcome("successful", 0, found(run, "verify")))
    assert (kept_endpoint(entries), entries.show()["status"]) == (VIP, "ready")
    assert connection_step(entries.task(task))["status"] == "succeeded"


def test_it_is_direct_again_before_the_vip_goes(entries: Entries) -> None:
    entries.applied()
    task, _run = roll_back(entries, True, remove=True)
    assert task["state"] == "succeeded", task["diagnostics_json"]
    assert (cluster(entries)["endpoint"], cluster(entries)["direct_endpoint"]) == (DIRECT, None)
    assert [one["through"] for one in events_of(entries, "cls")] == ["network_entry", "direct"]
    assert entries.show()["mode"] == "none"


def test_it_is_direct_again_also_where_nobody_answers_there(entries: Entries, played: PlayedCluster) -> None:
    """The VIP goes whatever becomes of the first control plane: what is left of it is told."""
    entries.applied()
    played.faults[DIRECT] = "cluster_unreachable"
    roll_back(entries, True, remove=True)
    shown = cluster(entries)
    assert (shown["endpoint"], shown["status"]) == (DIRECT, "failed")
    assert shown["last_check"]["error_key"] == "cluster_unreachable"


def test_another_vip_is_come_to_by_the_direct_way_and_back(entries: Entries) -> None:
    entries.applied()
    second = entries.preview(lvs_vip={**LVS_VIP, "vip_address": "192.0.2.241/24"})
    entries.start(second)
    entries.shop.clock.pass_(seconds=1)
    kind, run = entries.work("network_entry")
    assert kept_endpoint(entries) == DIRECT, "the old VIP is on its way out"
    kind.end(RunOutcome("successful", 0, found(run, "verify")))
    entries.shop.clock.pass_(seconds=1)
    assert (kept_endpoint(entries), cluster(entries)["direct_endpoint"]) == (OTHER, DIRECT)
    _task, run = roll_back(entries, False)
    spec = run.documents["network_entry_spec_file"]
    assert spec["restores"] == {"vip": "192.0.2.240/24", "ports": [6443]}
    assert (kept_endpoint(entries), cluster(entries)["direct_endpoint"]) == (VIP, DIRECT)


@pytest.mark.parametrize("why", ["port", "brought in"])
def test_others_stay_as_they_are(entries: Entries, played: PlayedCluster, why: str) -> None:
    if why == "brought in":
        with entries.shop.core.database.write() as session:
            session.get_one(tables.Cluster, "cls").mode = "external_managed"
    task = entries.applied(lvs_vip={**LVS_VIP, **({"health_check_port": 443} if why == "port" else {})})
    assert task["state"] == "succeeded"
    assert (kept_endpoint(entries), played.asked, events_of(entries, "cls")) == (DIRECT, [], [])
    assert "connection" not in {one["step"] for one in task["steps"]}


def test_more_ports_of_the_vip_may_be_the_api_s(entries: Entries) -> None:
    entries.applied(lvs_vip={**LVS_VIP, "health_check_port": 443, "ports": [6443]})
    assert kept_endpoint(entries) == VIP


def test_who_sets_the_connection_has_the_last_word(entries: Entries) -> None:
    entries.applied()
    admin = entries.shop.actor("admin", "admin")
    text = json.dumps(Connection(OTHER, ca=CA, token="new").kubeconfig())
    clusters.set_connection(entries.shop.core, admin, "cls", {"kubeconfig": text})
    assert cluster(entries)["direct_endpoint"] is None
    task = entries.preview(kind="rollback", remove=True)
    entries.start(task)
    entries.shop.clock.pass_(seconds=1)
    entries.work("network_entry")
    assert kept_endpoint(entries) == OTHER


def test_nodes_without_a_part_are_led_to_the_vip_and_asked_nothing_else(entries: Entries) -> None:
    task = entries.preview()
    assert [one["name"] for one in task["nodes"]] == [*NAMES, "wk"]
    entries.start(task)
    entries.shop.clock.pass_(seconds=1)
    kind, run = entries.work("network_entry")
    assert [host.name for host in run.hosts] == [*NAMES, "wk"]
    kind.end(RunOutcome("successful", 0, found(run, "verify")))
    entries.shop.clock.pass_(minutes=2)
    network_entry_check.look_where_due(entries.shop.core)
    check, run = entries.work("network_entry_check")
    assert [host.name for host in run.hosts] == list(NAMES)
    check.end(RunOutcome("successful", 0, found(run)))
    test = entries.request(kind="failover_test")
    assert [one["name"] for one in test["nodes"]] == list(NAMES)
    assert tasks.list_(
        entries.shop.core, operator(entries.shop), SUBJECT, "cls", {"kind": "apply"}, PageRequest()
    ).items


def test_an_install_names_the_vip_and_leads_to_it_once_it_is_in_force(entries: Entries) -> None:
    def told(**asked: Any) -> Any:
        with entries.shop.core.database.read() as session:
            task = tables.InstallTask(
                id="tsk_x", environment_id="env_development", nodes=[],
                request_cipher=entries.shop.core.vault.encrypt(json.dumps(asked).encode()),
            )  # fmt: skip
            return install_spec.of_preview(entries.shop.core, session, task)["network_entry"]

    assert told() is None
    planned = {"mode": "lvs_vip", "lvs_vip": LVS_VIP, "cluster_networks": None}
    assert told(network_entry=planned) == {"address": "192.0.2.240", "in_force": False}
    entries.applied()
    assert told() == {"address": "192.0.2.240", "in_force": True}
    roll_back(entries, True, remove=True)
    assert told() is None
