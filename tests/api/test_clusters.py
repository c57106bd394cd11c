# SPDX-License-Identifier: Apache-2.0
"""Clusters against a real API server: brought in, tested, bound to targets, and never told whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from controlplane import bootstrap
from controlplane import settings as configuration
from controlplane.adapters import vault
from controlplane.domain import cluster as rules
from controlplane.store import migrate
from tests.api.people import Caller, People
from tests.lab.kube import KubeApi

pytestmark = [pytest.mark.kubernetes, pytest.mark.xdist_group("kube_api")]


def rbac(abilities: Any) -> list[dict[str, Any]]:
    """Return the RBAC rules that allow exactly these."""
    return [
        {
            "apiGroups": [one.group],
            "resources": [f"{one.resource}/{one.subresource}" if one.subresource else one.resource],
            "verbs": [one.verb],
        }
        for one in abilities
    ]


ENOUGH = rbac(rules.NEEDED)


@pytest.fixture
def core(tmp_path: Path) -> Any:
    """An installation that lets endpoints lead to loopback, where the API server is."""
    variables = {"TIDEGATE_HOME": str(tmp_path / "home"), "TIDEGATE_CLUSTER_ADDRESS_ALLOW": "127.0.0.0/8"}
    settings = configuration.load(variables)
    settings.make_folders()
    vault.init_keys(settings.key_file)
    migrate.upgrade(settings.database_url)
    core = bootstrap.build_core(settings)
    yield core
    core.queue.close()
    core.database.engine.dispose()


@pytest.fixture
def shop(people: People) -> str:
    """A project."""
    return people.project("shop")


def bring_in(caller: Caller, project: str, kubeconfig: Path | str, name: str = "blue", **other: Any) -> Any:
    """Import a kubeconfig."""
    content = kubeconfig.read_text() if isinstance(kubeconfig, Path) else kubeconfig
    body = {"project_id": project, "name": name, "kubeconfig": content, **other}
    return caller.post("/clusters/import/kubeconfig", body)


def environment(caller: Caller, project: str, name: str = "staging", runtime: str = "k8s") -> str:
    """Make an environment."""
    body = {"project_id": project, "name": name, "stage": "staging", "runtime_type": runtime}
    return str(caller.post("/environments", body).json["id"])


def bind(caller: Caller, project: str, environment_id: str, name: str = "shop-staging", **other: Any) -> Any:
    """Ask for a target."""
    body = {"project_id": project, "name": name, "environment_id": environment_id, **other}
    return caller.post("/deploy/targets", body)


def test_a_cluster_is_brought_in_tested_and_bound(
    admin: Caller, shop: str, kube_api: KubeApi, kube_namespace: str
) -> None:
    made = bring_in(admin, shop, kube_api.kubeconfig)
    assert made.status_code == 201, made.json
    cluster = made.json
    assert cluster["endpoint"] == kube_api.endpoint
    assert cluster["server_version"].startswith("v1.")
    assert (cluster["credential_kind"], cluster["status"], cluster["warning"]) == (
        "certificate",
        "ready",
        None,
    )
    assert cluster["credential_expires_at"] is not None
    assert cluster["last_check"]["lacking"] == []

    tested = admin.post(f"/clusters/{cluster['id']}/connect/test", {"namespace": kube_namespace})
    assert tested.status_code == 200, tested.json
    assert tested.json["reachable"] is True
    assert 0 < tested.json["latency_ms"] < 5000
    assert tested.json["certificate_expires_at"] and tested.json["namespace"] == kube_namespace
    assert "create deployments.apps" in tested.json["allowed"]

    target = bind(admin, shop, environment(admin, shop), cluster_id="blue", namespace=kube_namespace)
    assert target.status_code == 201, target.json
    assert (target.json["cluster_id"], target.json["namespace"], target.json["cluster_scoped"]) == (
        cluster["id"], kube_namespace, False
    )  # fmt: skip
    assert target.json["cluster_access"]["ok"] is True
    assert target.json["host_ids"] == []
    refused = admin.delete(f"/clusters/{cluster['id']}")
    assert (refused.status_code, refused.json["error_key"]) == (409, "resource_in_use")
