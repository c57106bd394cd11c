# SPDX-License-Identifier: Apache-2.0
"""A cluster made of hosts is asked for in one call: its environment, and the preview of its install, or neither."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.people import Caller, People
from tests.api.test_environments_and_targets import host


@pytest.fixture
def shop(people: People) -> str:
    """A project."""
    return people.project("shop")


def ordered(admin: Caller, project: str, *nodes: dict[str, str], **other: Any) -> Any:
    """Ask for a cluster."""
    given = {"project_id": project, "name": "blue", "stage": "development", "nodes": list(nodes), **other}
    return admin.post("/clusters", given)


def test_one_call_makes_the_environment_and_asks_for_the_preview(admin: Caller, shop: str) -> None:
    node = {"host_id": host(admin, shop, "plane-1"), "role": "control_plane"}
    made = ordered(admin, shop, node, runtime_version="1.36", inputs={"pod_subnet": "10.1.0.0/16"})
    assert made.status_code == 202, made.json
    environment, install = made.json["environment"], made.json["install"]
    assert (environment["name"], environment["runtime_type"], environment["mode"]) == (
        "blue", "k8s", "platform_managed"
    )  # fmt: skip
    assert (environment["nodes"], environment["cluster_id"]) == ([{**node, "name": "plane-1"}], None)
    assert (install["environment_id"], install["status"]) == (environment["id"], "previewing")
    tasks = admin.get(f"/environments/{environment['id']}/install/tasks").json["items"]
    assert [one["task_id"] for one in tasks] == [install["task_id"]]
    assert ordered(admin, shop, node).json["error_key"] == "conflict"


def test_a_network_entry_is_asked_for_with_it(admin: Caller, shop: str) -> None:
    planes = [
        {"host_id": host(admin, shop, f"plane-{n}", f"192.0.2.{10 + n}"), "role": "control_plane"}
        for n in range(3)
    ]
    entry = {"vip_address": "192.0.2.240/24", "virtual_router_id": 51}
    refused = ordered(admin, shop, *planes, network_entry={"mode": "lvs_vip", "lvs_vip": {
        **entry, "backend_nodes": ["plane-0"]}})  # fmt: skip
    assert refused.json["error_key"] == "backend_nodes_invalid", refused.json
    assert admin.get("/environments").json["items"] == [], "nothing is left of it"
    taken = {**entry, "backend_nodes": ["plane-0", "plane-1", "plane-2"]}
    made = ordered(admin, shop, *planes, network_entry={"mode": "lvs_vip", "lvs_vip": taken})
    assert made.status_code == 202, made.json


def test_what_can_be_no_cluster_makes_nothing(admin: Caller, shop: str) -> None:
    worker = {"host_id": host(admin, shop, "worker-1"), "role": "worker"}
    assert ordered(admin, shop, worker).json["error_key"] == "insufficient_nodes"
    assert admin.get("/environments").json["items"] == []
