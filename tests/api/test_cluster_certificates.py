# SPDX-License-Identifier: Apache-2.0
"""Certificates of clusters over HTTP: what is listed, what is taken, and who may. What is done is told elsewhere."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from controlplane.services.core import Core
from controlplane.store.tables import Cluster
from tests.api.people import Caller, People
from tests.api.test_environments_and_targets import host

NOW = {"Prefer": "wait=0"}


@pytest.fixture
def shop(people: People) -> str:
    """A project."""
    return people.project("shop")


@pytest.fixture
def path(core: Core, admin: Caller, shop: str) -> str:
    """The certificates of a cluster that an install made of one host."""
    node = {"host_id": host(admin, shop, "plane-1"), "role": "control_plane"}
    body = {"project_id": shop, "name": "blue", "stage": "production", "nodes": [node]}
    answer = admin.post("/clusters", body)
    assert answer.status_code == 202, answer.json
    now = core.clock.now()
    ends = now + timedelta(days=10, hours=1)
    rows: list[dict[str, Any]] = [
        {"name": "apiserver", "kind": "certificate", "path": "/a", "authority": "ca", "managed_by": "kubeadm",
         "subject": "CN=kube-apiserver", "expires_at": ends.isoformat(), "error": None},
        {"name": "etcd-peer", "kind": "certificate", "path": "/e", "authority": "etcd-ca",
         "managed_by": "kubeadm", "error": "holds no certificate"},
    ]  # fmt: skip
    with core.database.write() as session:
        session.add(
            Cluster(
                id="cls_blue", project_id=shop, name="blue", endpoint="https://192.0.2.1:6443",
                environment_id=answer.json["environment"]["id"], mode="platform_managed",
                kubeconfig_cipher=core.vault.encrypt(b"{}"), credential_kind="certificate", created_by="usr",
                created_at=now, certificates={"hosts": {"plane-1": rows}, "problems": []},
                certificates_checked_at=now, certificates_expire_at=ends,
            )
        )  # fmt: skip
    return "/clusters/cls_blue/certs"


def test_they_are_listed_with_the_days_left(admin: Caller, path: str) -> None:
    shown = admin.get(path)
    assert shown.status_code == 200, shown.json
    assert (shown.json["days_left"], shown.json["mode"]) == (10, "platform_managed")
    rows = {row["name"]: row for row in shown.json["hosts"][0]["certificates"]}
    assert (rows["apiserver"]["days_left"], rows["etcd-peer"]["days_left"]) == (10, None)
    assert rows["etcd-peer"]["error"] == "holds no certificate"
    assert admin.get("/clusters/cls_blue").json["certificates_expire_at"] == shown.json["first_expires_at"]
    metrics = admin.client.get("/metrics").text
    assert "tidegate_cluster_certificate_expires_seconds 867" in metrics


def test_a_look_is_a_job(admin: Caller, path: str) -> None:
    job = admin.post(f"{path}/check")
    assert (job.status_code, job.json["kind"]) == (202, "cluster_certificates"), job.json
    assert admin.get(f"/jobs/{job.json['job_id']}").status_code == 200


def test_a_rotation_is_previewed_followed_and_taken_back(admin: Caller, path: str) -> None:
    answer = admin.post(f"{path}/rotate/preview", {"within_days": 60}, NOW)
    assert answer.status_code == 202, answer.json
    task = answer.json
    assert answer.headers["Location"] == f"/api/v1{path}/rotate/tasks/{task['task_id']}"
    assert (task["kind"], task["stage"], task["preview"]["needed"]) == ("rotate", "production", None)
    assert [node["name"] for node in task["nodes"]] == ["plane-1"]
    listed = admin.get(f"{path}/rotate/tasks", state="pending").json["items"]
    assert [one["task_id"] for one in listed] == [task["task_id"]]
    other = admin.get(f"/clusters/cls_blue/network-entry/tasks/{task['task_id']}")
    assert other.status_code == 404, "it is no task of the cluster's network entry"
    cancelled = admin.post(f"{path}/rotate/tasks/{task['task_id']}/cancel")
    assert (cancelled.status_code, cancelled.json["state"]) == (202, "cancelled")
    told = admin.get(f"{path}/rotate/tasks/{task['task_id']}/timeline").json["items"]
    assert told[-1]["action"] == "cluster.cert_rotation_cancelled"


@pytest.mark.parametrize("days", [-1, 3651, 1.5, "30", True])
def test_days_that_cannot_be_are_refused(admin: Caller, path: str, days: Any) -> None:
    answer = admin.post(f"{path}/rotate/preview", {"within_days": days}, NOW)
    assert (answer.status_code, answer.json["error_key"]) == (422, "validation_error"), answer.json
    assert "within_days" in answer.json["errors"]["json"]


def test_nothing_is_rotated_without_a_preview(admin: Caller, path: str) -> None:
    for body in ({}, {"preview_ref": "pvw_none"}):
        assert admin.post(f"{path}/rotate/apply", body).json["error_key"] == "preview_required"


def test_who_may(people: People, path: str, shop: str) -> None:
    reader = people.add("reader", role="viewer", project=shop)
    assert reader.get(path).status_code == 200
    assert reader.post(f"{path}/check").status_code == 202
    for role in ("viewer", "releaser"):
        caller = people.add(f"a-{role}", role=role, project=shop)
        assert caller.post(f"{path}/rotate/preview", {}, NOW).status_code == 403
        assert caller.post(f"{path}/rotate/apply", {"preview_ref": "pvw_1"}).status_code in (403, 422)
    stranger = people.add("stranger", role="operator", project=people.project("other"))
    assert stranger.get(path).json["error_key"] == "cluster_not_found"
    assert stranger.post(f"{path}/rotate/preview", {}, NOW).status_code == 404
