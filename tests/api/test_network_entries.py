# SPDX-License-Identifier: Apache-2.0
"""Network entries over HTTP: what is taken, who may, and what is never answered. What they do is told elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.services.core import Core
from controlplane.store.tables import Cluster
from tests.api.people import Caller, People

LVS_VIP: dict[str, Any] = {
    "vip_address": "192.0.2.240/24",
    "virtual_router_id": 51,
    "auth_pass": "canary8x",
    "backend_nodes": ["cp-1", {"host": "cp-2", "weight": 2}],
}
NOW = {"Prefer": "wait=0"}


@pytest.fixture
def shop(people: People) -> str:
    """A project."""
    return people.project("shop")


@pytest.fixture
def path(core: Core, admin: Caller, shop: str) -> str:
    """The entry of a cluster whose two hosts are registered."""
    for number in (1, 2):
        host = {"name": f"cp-{number}", "address": f"192.0.2.{number}", "user": "root", "password": "word"}
        assert admin.post("/hosts", {"project_id": shop, **host}).status_code == 201
    with core.database.write() as session:
        session.add(
            Cluster(
                id="cls_blue", project_id=shop, name="blue", endpoint="https://192.0.2.1:6443",
                kubeconfig_cipher=core.vault.encrypt(b"{}"), credential_kind="token", created_by="usr",
                created_at=core.clock.now(),
            )
        )  # fmt: skip
    return "/clusters/cls_blue/network-entry"


def test_a_preview_is_made_and_followed(admin: Caller, path: str) -> None:
    assert admin.get(path).json["mode"] == "none"
    answer = admin.post(f"{path}/preview", {"lvs_vip": LVS_VIP}, NOW)
    assert answer.status_code == 202, answer.json
    task = answer.json
    assert answer.headers["Location"] == f"/api/v1{path}/tasks/{task['task_id']}"
    assert (task["state"], task["stage"], task["preview"]["preview_ref"]) == ("pending", "production", None)
    assert [node["name"] for node in task["nodes"]] == ["cp-1", "cp-2"]
    listed = admin.get(f"{path}/tasks", kind="apply").json["items"]
    assert [one["task_id"] for one in listed] == [task["task_id"]]
    answers = [admin.get(f"{path}/tasks/{task['task_id']}"), admin.get(f"{path}/tasks"), answer]
    assert all("canary8x" not in one.text for one in answers)
    cancelled = admin.post(f"{path}/tasks/{task['task_id']}/cancel")
    assert (cancelled.status_code, cancelled.json["state"]) == (202, "cancelled")
    assert admin.post(f"{path}/tasks/{task['task_id']}/retry").status_code == 409
    assert admin.get(f"{path}/tasks/{task['task_id']}/timeline").json["items"][-1]["action"] == (
        "network_entry.cancelled"
    )


@pytest.mark.parametrize(
    ("wrong", "status", "key", "field"),
    [
        ({"auth_pass": "longer-than-8"}, 422, "validation_error", "lvs_vip.auth_pass"),
        ({"interface": "eth0\n}"}, 422, "validation_error", "lvs_vip.interface"),
        ({"virtual_router_id": 256}, 422, "validation_error", "lvs_vip.virtual_router_id"),
        ({"advert_interval": 0.5}, 422, "validation_error", "lvs_vip.advert_interval"),
        ({"backend_nodes": ["cp-1"]}, 422, "backend_nodes_invalid", None),
        ({"backend_nodes": ["cp-1", 7]}, 422, "backend_nodes_invalid", None),
        ({"vip_address": "192.0.2.2/24"}, 409, "vip_conflict", None),
    ],
)
def test_what_cannot_be_is_named(
    admin: Caller, path: str, wrong: dict[str, Any], status: int, key: str, field: str | None
) -> None:
    answer = admin.post(f"{path}/preview", {"lvs_vip": {**LVS_VIP, **wrong}}, NOW)
    assert (answer.status_code, answer.json["error_key"]) == (status, key), answer.json
    assert field is None or field in answer.json["errors"]
    assert "longer-than-8" not in answer.text and "canary8x" not in answer.text


def test_an_unknown_parameter_is_refused_by_name(admin: Caller, path: str) -> None:
    answer = admin.post(f"{path}/preview", {"lvs_vip": {**LVS_VIP, "vrid": 7}}, NOW)
    assert answer.status_code == 422 and "vrid" in str(answer.json["errors"])
    assert admin.post(f"{path}/preview", {}, NOW).json["errors"] == {"lvs_vip": ["is required"]}


def test_there_is_nothing_to_take_back_or_to_try_out(admin: Caller, path: str) -> None:
    for kind in ("rollback", "failover_test"):
        assert admin.post(f"{path}/preview", {"kind": kind}, NOW).status_code == 404
    for verb in ("apply", "rollback", "failover-test"):
        assert admin.post(f"{path}/{verb}", {}).json["error_key"] == "preview_required"


def test_who_may(people: People, path: str, shop: str) -> None:
    reader = people.add("reader", role="viewer", project=shop)
    assert reader.get(path).status_code == 200
    assert reader.post(f"{path}/preview", {"lvs_vip": LVS_VIP}, NOW).status_code == 403
    assert reader.post(f"{path}/apply", {"preview_ref": "pvw_1"}).status_code == 403
    stranger = people.add("stranger", role="operator", project=people.project("other"))
    assert stranger.get(path).json["error_key"] == "cluster_not_found"
    assert stranger.post(f"{path}/preview", {"lvs_vip": LVS_VIP}, NOW).status_code == 404


def test_a_host_behind_an_entry_is_one_of_the_project_s(admin: Caller, people: People, path: str) -> None:
    other = people.project("other")
    host = {"project_id": other, "name": "cp-9", "address": "192.0.2.9", "user": "root", "password": "word"}
    host_id = admin.post("/hosts", host).json["id"]
    for word in ("cp-9", host_id):
        answer = admin.post(f"{path}/preview", {"lvs_vip": {**LVS_VIP, "backend_nodes": ["cp-1", word]}}, NOW)
        assert answer.json["error_key"] == "backend_nodes_invalid"
