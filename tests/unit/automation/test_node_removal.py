# SPDX-License-Identifier: Apache-2.0
"""Who may leave a cluster, what a disruption budget is about, and what is said where pods stay."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.environment import (
    etcd_members,
    kubectl,
    node_removal,
)
from ansible_collections.tidegate.deploy.plugins.module_utils.environment.journal import Journal
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError
from ansible_collections.tidegate.deploy.plugins.plugin_utils import cluster_nodes

NODES = [
    {"host": "plane", "role": "control_plane", "address": "192.0.2.1"},
    {"host": "one", "role": "worker", "address": "192.0.2.2"},
]
WORK = {"removal": {"names": ["one"], "seconds": 5}}


def pod(name: str, **more: Any) -> dict[str, Any]:
    controller = [{"kind": "ReplicaSet", "controller": True}]
    meta = {"namespace": "shop", "name": name, "labels": {"app": "web"}, "ownerReferences": controller}
    return {
        "metadata": {**meta, **more.pop("metadata", {})},
        "spec": {"nodeName": "one", **more},
        "status": {"phase": "Running"},
    }


BUDGET = {
    "metadata": {"namespace": "shop", "name": "web"},
    "spec": {"selector": {"matchLabels": {"app": "web"}}},
    "status": {"disruptionsAllowed": 0},
}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """What kubectl finds; `told` is what it was told, `refuses` whether a drain runs out of its time."""
    found: dict[str, list[Any]] = {"pods": [pod("web-1")], "budgets": [BUDGET], "told": [], "refuses": []}
    nodes = [{"name": name, "is_cordoned": False} for name in ("plane", "one")]

    def ask(*words: str, **_more: Any) -> Any:
        return {"items": found["pods" if words[1] == "pods" else "budgets"]}

    def run(*argv: str, **_more: Any) -> subprocess.CompletedProcess[str]:
        found["told"].append(argv)
        return subprocess.CompletedProcess(argv, 1 if found["refuses"] else 0, "", "time is over")

    monkeypatch.setattr(kubectl, "ask", ask)
    monkeypatch.setattr(kubectl, "nodes", lambda: nodes)
    monkeypatch.setattr(kubectl, "tell", lambda *words, **_more: found["told"].append(words))
    monkeypatch.setattr(node_removal, "run", run)
    return found


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(str(tmp_path / "journal.json"))


@pytest.mark.parametrize("given", [["one"], "one", " one ,"])
def test_workers_are_named_in_the_document_or_by_hand(given: Any) -> None:
    assert cluster_nodes.leaving({"remove": given}, {}, NODES) == ["one"]
    assert cluster_nodes.leaving({}, {"environment_remove_nodes": given}, NODES) == ["one"]
    assert cluster_nodes.leaving({}, {}, NODES) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [("plane", "plane is the control plane that the cluster began with"), ("two", "no node is called two")],
)
def test_nobody_else_leaves(given: str, said: str) -> None:
    with pytest.raises(ReleaseError, match=said):
        cluster_nodes.leaving({"remove": [given]}, {}, NODES)


def test_another_control_plane_leaves_as_a_worker_does() -> None:
    nodes = [*NODES, {"host": "two", "role": "control_plane", "address": "192.0.2.3"}]
    assert cluster_nodes.leaving({"remove": ["two", "one"]}, {}, nodes) == ["two", "one"]


def test_no_pod_is_moved_where_etcd_would_lose_its_majority(
    cluster: dict[str, list[Any]], journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(names: list[str]) -> None:
        raise ReleaseError("insufficient_nodes", f"without {names[0]} there is no majority")

    monkeypatch.setattr(etcd_members, "require_majority", refuse)
    for work in (lambda: node_removal.look(["one"], False), lambda: node_removal.drain(WORK, journal, False)):
        with pytest.raises(ReleaseError, match="without one there is no majority"):
            work()
    assert cluster["told"] == []


def test_one_that_is_lost_is_taken_out_of_etcd_before_the_cluster_forgets_it(
    cluster: dict[str, list[Any]], journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(etcd_members, "require_majority", lambda _names: None)
    monkeypatch.setattr(etcd_members, "named", lambda names: list(names))
    monkeypatch.setattr(etcd_members, "remove", lambda names: cluster["told"].append(("etcd", *names)))
    assert (
        node_removal.look(["one"], True)["plan"][1]["detail"]
        == "delete one from the cluster, and one from etcd"
    )
    changes = node_removal.delete(WORK, journal, False)["changes"]
    assert changes == ["remove one from etcd", "delete node one"]
    assert cluster["told"] == [("etcd", "one"), ("delete", "node", "one")]


@pytest.mark.parametrize(
    ("selector", "is_meant"),
    [
        (None, False),
        ({}, True),
        ({"matchLabels": {"app": "web"}}, True),
        ({"matchLabels": {"app": "db"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "db"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["web"]}]}, True),
        ({"matchExpressions": [{"key": "tier", "operator": "Exists"}]}, False),
        (
            {
                "matchLabels": {"app": "web"},
                "matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}],
            },
            True,
        ),
    ],
)
def test_a_budget_is_about_the_pods_that_it_selects(selector: Any, is_meant: bool) -> None:
    told = {"name": "shop/web-1", "labels": {"app": "web"}}
    assert node_removal.matches({"name": "shop/web", "selector": selector}, told) is is_meant
    assert not node_removal.matches({"name": "other/web", "selector": selector}, told)


def test_only_pods_that_a_drain_moves_are_told(cluster: dict[str, list[Any]]) -> None:
    cluster["pods"] = [
        pod("web-1"),
        pod("agent", metadata={"ownerReferences": [{"kind": "DaemonSet", "controller": True}]}),
        pod("mirror", metadata={"annotations": {"kubernetes.io/config.mirror": "x"}}),
        {**pod("done"), "status": {"phase": "Succeeded"}},
        pod("bare", metadata={"ownerReferences": []}, volumes=[{"name": "v", "emptyDir": {}}]),
    ]
    told = node_removal.look(["one"], False)
    assert told["pods"] == ["shop/web-1", "shop/bare"]
    assert [one["message"] for one in told["checks"]] == [
        "shop/bare has no controller: it is gone for good",
        "shop/bare keeps data on its node alone: they are gone with it",
        "shop/web lets none of its pods go now: shop/bare, shop/web-1",
    ]
    # What is bound names what would be gone for good, and not what only moves.
    assert told["plan"][0]["detail"] == "cordon and drain one; gone for good: shop/bare"


def test_a_drain_says_which_budget_holds_which_pod(cluster: dict[str, list[Any]], journal: Journal) -> None:
    cluster["refuses"] = [True]
    with pytest.raises(ReleaseError, match=r"shop/web-1 \(shop/web lets none of shop/web-1 go\)") as caught:
        node_removal.drain(WORK, journal, False)
    assert caught.value.error_key == "node_drain_failed"
    assert caught.value.detail == {"held_by": ["shop/web"], "pods": ["shop/web-1"]}
    # So that the next install knows whose cordon it is.
    assert journal.find("cordon", "one")


def test_a_promise_and_a_lost_node_move_nothing(cluster: dict[str, list[Any]], journal: Journal) -> None:
    promised = node_removal.drain(WORK, journal, True)
    assert promised["changes"] == ["cordon one", "evict shop/web-1 from one"]
    lost = node_removal.drain({"removal": {**WORK["removal"], "is_lost": True}}, journal, False)
    assert (lost["changes"], cluster["told"], journal.entries) == ([], [], [])


def test_a_node_that_is_deleted_is_forgotten(cluster: dict[str, list[Any]], journal: Journal) -> None:
    node_removal.drain(WORK, journal, False)
    assert node_removal.delete(WORK, journal, True)["changes"] == ["delete node one"]
    node_removal.delete(WORK, journal, False)
    assert cluster["told"][-1] == ("delete", "node", "one")
    assert journal.entries == []
    assert node_removal.delete({"removal": {"names": ["gone"]}}, journal, False)["changes"] == []
