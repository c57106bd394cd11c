# SPDX-License-Identifier: Apache-2.0
"""Environments and targets: whose hosts may be where, and what is not taken away from under a release."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from controlplane.domain.identifier import new_id
from controlplane.services import jobs
from controlplane.services.core import Core
from controlplane.store.tables import Event, Job, Service, VariableValue
from tests.api.people import Caller, People


@pytest.fixture
def shop(people: People) -> str:
    """A project."""
    return people.project("shop")


def host(admin: Caller, project: str, name: str, address: str = "192.0.2.1") -> str:
    """Make a host."""
    made = {
        "project_id": project,
        "name": name,
        "address": address,
        "user": "deploy",
        "password": "secret-word",
    }
    return str(admin.post("/hosts", made).json["id"])


def environment(admin: Caller, project: str, name: str = "staging", **other: Any) -> Any:
    """Ask for an environment."""
    return admin.post("/environments", {"project_id": project, "name": name, "stage": "staging", **other})


def target(admin: Caller, project: str, environment_id: str, name: str = "shop-staging", **other: Any) -> Any:
    """Ask for a target."""
    return admin.post(
        "/deploy/targets", {"project_id": project, "name": name, "environment_id": environment_id, **other}
    )


def nodes(admin: Caller, environment_id: str, *wanted: dict[str, Any]) -> Any:
    """Replace the nodes."""
    return admin.send("PUT", f"/environments/{environment_id}/nodes", json=list(wanted))


def test_nodes_are_hosts_with_a_role_of_the_runtime(admin: Caller, shop: str) -> None:
    one, two = host(admin, shop, "web-1"), host(admin, shop, "web-2")
    made = environment(
        admin, shop, nodes=[{"host_id": one, "role": "compose_manager"}, {"host_id": two}]
    ).json
    assert [(node["name"], node["role"]) for node in made["nodes"]] == [
        ("web-1", "compose_manager"), ("web-2", "compose_worker")
    ]  # fmt: skip
    assert (made["runtime_type"], made["mode"], made["status"]) == ("compose", "external_managed", "ready")
    left = nodes(admin, made["id"], {"host_id": two, "role": "compose_manager"})
    assert left.json["nodes"] == [{"host_id": two, "role": "compose_manager", "name": "web-2"}]
    assert admin.get(f"/environments/{made['id']}").json == left.json
    assert admin.delete(f"/hosts/{two}").json["error_key"] == "resource_in_use"
    assert admin.delete(f"/hosts/{one}").status_code == 204
    cluster = environment(admin, shop, "cluster", runtime_type="k8s", mode="platform_managed", host_ids=[two])
    assert (cluster.json["nodes"][0]["role"], cluster.json["status"]) == ("worker", "draft")


@pytest.mark.parametrize(
    ("runtime", "role"), [("compose", "worker"), ("compose", "control_plane"), ("k8s", "compose_manager")]
)
def test_a_role_of_another_runtime_is_refused(admin: Caller, shop: str, runtime: str, role: str) -> None:
    wanted = [{"host_id": host(admin, shop, "web-1"), "role": role}]
    assert (
        environment(admin, shop, runtime_type=runtime, nodes=wanted).json["error_key"] == "node_role_invalid"
    )
    assert admin.get("/environments").json["items"] == []
    made = environment(admin, shop, runtime_type=runtime).json["id"]
    assert nodes(admin, made, *wanted).json["error_key"] == "node_role_invalid"


@pytest.mark.parametrize(
    "wrong",
    [
        {"stage": "moon"}, {"runtime_type": "swarm"}, {"mode": "other"}, {"name": "A B"}, {"name": ""}, {"x": 1},
        {"nodes": [{"host_id": "h", "role": "king"}]}, {"nodes": [{}]}, {"nodes": "h"}, {"project_id": 7},
        {"nodes": [], "host_ids": []},
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_environment_is_refused(
    admin: Caller, shop: str, wrong: dict[str, Any]
) -> None:
    answer = admin.post("/environments", {"project_id": shop, "name": "one", "stage": "staging", **wrong})
    assert (answer.status_code, answer.json["error_key"]) == (422, "validation_error"), answer.json


def test_a_host_is_named_once_and_is_of_the_project(admin: Caller, people: People, shop: str) -> None:
    own, foreign = host(admin, shop, "web-1"), host(admin, people.project("bank"), "web-1")
    assert environment(admin, shop, host_ids=[own, own]).json["error_key"] == "validation_error"
    assert environment(admin, shop, host_ids=[foreign]).json["error_key"] == "not_found"
    made = environment(admin, shop, host_ids=[own]).json["id"]
    assert nodes(admin, made, {"host_id": foreign}).json["error_key"] == "not_found"


def test_a_target_is_all_nodes_unless_some_are_named(admin: Caller, shop: str) -> None:
    one, two = host(admin, shop, "web-1"), host(admin, shop, "web-2")
    where = environment(admin, shop, host_ids=[two, one]).json["id"]
    assert target(admin, shop, where).json["host_ids"] == [one, two]
    some = target(admin, "shop", where, "some", host_ids=[two]).json
    assert (some["host_ids"], some["runtime_type"], some["project_id"]) == ([two], "compose", shop)
    assert target(admin, shop, where, "some").json["error_key"] == "conflict"
    assert admin.patch(f"/deploy/targets/{some['id']}", {"host_ids": [one, one]}).json["host_ids"] == [one]
    assert (
        admin.patch(f"/deploy/targets/{some['id']}", {"host_ids": []}).json["error_key"]
        == "insufficient_nodes"
    )
    assert (
        admin.patch(f"/deploy/targets/{some['id']}", {"name": "shop-staging"}).json["error_key"] == "conflict"
    )
    found = admin.get("/deploy/targets", environment_id=where, project_id="shop").json["items"]
    assert [item["name"] for item in found] == ["shop-staging", "some"]


def test_a_target_has_only_nodes_of_its_environment(admin: Caller, people: People, shop: str) -> None:
    bank = people.project("bank")
    inside, beside = host(admin, shop, "web-1"), host(admin, shop, "web-2")
    where, empty = (
        environment(admin, shop, host_ids=[inside]).json["id"],
        environment(admin, shop, "empty").json["id"],
    )
    foreign = environment(admin, bank, host_ids=[host(admin, bank, "web-1")]).json["id"]
    assert target(admin, shop, empty).json["error_key"] == "insufficient_nodes"
    assert target(admin, shop, where, host_ids=[]).json["error_key"] == "insufficient_nodes"
    assert target(admin, shop, where, host_ids=[beside]).json["error_key"] == "not_found"
    assert target(admin, shop, foreign).json["error_key"] == "not_found"
    assert target(admin, shop, "env_unknown").json["error_key"] == "not_found"
    assert target(admin, "unknown", where).json["error_key"] == "not_found"
    assert admin.get("/deploy/targets").json["items"] == []


def test_what_a_target_uses_is_not_taken_away(core: Core, admin: Caller, shop: str) -> None:
    one, two = host(admin, shop, "web-1"), host(admin, shop, "web-2")
    where = environment(admin, shop, host_ids=[one, two]).json["id"]
    made = target(admin, shop, where, host_ids=[one]).json["id"]
    assert nodes(admin, where, {"host_id": two}).json["error_key"] == "resource_in_use"
    assert nodes(admin, where, {"host_id": one}).status_code == 200
    assert admin.delete(f"/environments/{where}").json["error_key"] == "resource_in_use"
    assert (
        admin.patch(f"/environments/{where}", {"stage": "development"}).json["error_key"] == "resource_in_use"
    )
    assert admin.patch(f"/environments/{where}", {"name": "renamed"}).json["name"] == "renamed"
    assert admin.delete(f"/deploy/targets/{made}").status_code == 204
    assert admin.patch(f"/environments/{where}", {"stage": "development"}).json["stage"] == "development"
    assert admin.delete(f"/environments/{where}").status_code == 204
    with core.database.read() as session:
        told = [
            (event.action, event.resource_type)
            for event in session.scalars(select(Event).order_by(Event.seq))
        ]
    assert told[-2:] == [("resource.updated", "environment"), ("resource.deleted", "environment")]
    assert ("resource.deleted", "target") in told


def test_variables_go_with_what_they_were_for(core: Core, admin: Caller, shop: str) -> None:
    where = environment(admin, shop, host_ids=[host(admin, shop, "web-1")]).json["id"]
    made = target(admin, shop, where).json["id"]
    now, service_id = core.clock.now(), new_id("svc")
    with core.database.write() as session:
        session.add(
            Service(id=service_id, project_id=shop, name="shop", runtime_type="compose", created_at=now)
        )
        session.flush()
        for scope_type, scope_id in (("target", made), ("environment", where)):
            session.add(
                VariableValue(
                    id=new_id("var"), service_id=service_id, scope_type=scope_type, scope_id=scope_id, name="x",
                    value=1, is_secret=False, updated_at=now,
                )
            )  # fmt: skip
    admin.delete(f"/deploy/targets/{made}")
    with core.database.read() as session:
        assert [row.scope_type for row in session.scalars(select(VariableValue))] == ["environment"]
    admin.delete(f"/environments/{where}")
    with core.database.read() as session:
        assert session.scalars(select(VariableValue)).all() == []


def test_a_look_at_a_target_is_a_job_and_holds_the_target(core: Core, admin: Caller, shop: str) -> None:
    where = environment(admin, shop, host_ids=[host(admin, shop, "web-1")]).json["id"]
    made = target(admin, shop, where).json["id"]
    status = admin.get(f"/deploy/targets/{made}/status").json
    assert status == {"target_id": made, "checked_at": None, "hosts": {}, "drift": [], "releases": []}
    asked = admin.post(f"/deploy/targets/{made}/drift")
    assert (asked.status_code, asked.json["kind"], asked.json["resource_id"]) == (202, "target_status", made)
    assert admin.delete(f"/deploy/targets/{made}").json["error_key"] == "resource_in_use"
    with core.database.write() as session:
        jobs.finish(session.get_one(Job, asked.json["job_id"]), core.clock.now(), "succeeded")
    assert admin.delete(f"/deploy/targets/{made}").status_code == 204


def test_another_projects_things_do_not_exist(admin: Caller, people: People, shop: str) -> None:
    where = environment(admin, shop, host_ids=[host(admin, shop, "web-1")]).json["id"]
    made = target(admin, shop, where).json["id"]
    stranger = people.add("stranger", "operator", project=people.project("bank"))
    asked = [
        environment(stranger, shop), stranger.get(f"/environments/{where}"), stranger.delete(f"/environments/{where}"),
        stranger.patch(f"/environments/{where}", {"name": "x"}), nodes(stranger, where), target(stranger, shop, where),
        target(stranger, "bank", where), stranger.get(f"/deploy/targets/{made}"),
        stranger.patch(f"/deploy/targets/{made}", {"name": "x"}), stranger.delete(f"/deploy/targets/{made}"),
        stranger.get(f"/deploy/targets/{made}/status"), stranger.post(f"/deploy/targets/{made}/drift"),
    ]  # fmt: skip
    assert [answer.status_code for answer in asked] == [404] * len(asked)
    assert stranger.get("/environments").json["items"] == stranger.get("/deploy/targets").json["items"] == []


def test_a_viewer_reads_and_changes_nothing(admin: Caller, people: People, shop: str) -> None:
    where = environment(admin, shop, host_ids=[host(admin, shop, "web-1")]).json["id"]
    made = target(admin, shop, where).json["id"]
    viewer = people.add("viewer", "viewer", project=shop)
    assert (
        viewer.get(f"/environments/{where}").status_code
        == viewer.get(f"/deploy/targets/{made}").status_code
        == 200
    )
    asked = [
        environment(viewer, shop, "x"), viewer.patch(f"/environments/{where}", {"name": "x"}), nodes(viewer, where),
        viewer.delete(f"/environments/{where}"), target(viewer, shop, where, "x"),
        viewer.patch(f"/deploy/targets/{made}", {"name": "x"}), viewer.delete(f"/deploy/targets/{made}"),
    ]  # fmt: skip
    assert [answer.status_code for answer in asked] == [403] * len(asked)
