# SPDX-License-Identifier: Apache-2.0
"""A virtual IP that is asked for with a cluster follows by itself, and never harms the cluster."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.domain.errors import Problem
from controlplane.ports.runner import RunOutcome
from controlplane.services import (
    approvals,
    clusters,
    environments,
    installs,
    managed_clusters,
    post_tasks,
    tasks,
)
from controlplane.store import tables
from controlplane.store.events import NewEvent
from tests.services import test_installs
from tests.services.installation import HOST_KEY, Installation
from tests.services.test_network_entries import LVS_VIP, PASSWORD, Entries, operator, refused

NAMES = ("cp-a", "cp-b", "cp-c")
ASKED = {"mode": "lvs_vip", "lvs_vip": {**LVS_VIP, "backend_nodes": list(NAMES)}}


def site(shop: Installation, stage: str = "development") -> str:
    """Make an environment of three control planes that a cluster can be made of; return its id."""
    now = shop.clock.now()
    with shop.core.database.write() as session:
        session.add(
            tables.Binding(
                id="bnd", subject_type="user", subject_id="usr_releaser", role="operator", scope_type="project",
                scope_id="prj", created_at=now,
            )
        )  # fmt: skip
        for number, name in enumerate(NAMES):
            session.add(
                tables.Host(
                    id=f"hst_{name}", project_id="prj", name=name, address=f"192.0.2.{10 + number}", user="root",
                    created_at=now, host_key=HOST_KEY, host_key_status="pinned",
                    private_key_cipher=shop.core.vault.encrypt(b"key"),
                )
            )  # fmt: skip
    body = {
        "project_id": "prj",
        "name": "blue",
        "stage": stage,
        "mode": "platform_managed",
        "runtime_type": "k8s",
    }
    made = environments.create(shop.core, operator(shop), body)
    nodes = [{"host_id": f"hst_{name}", "role": "control_plane"} for name in NAMES]
    environments.set_nodes(shop.core, operator(shop), made["id"], nodes)
    return str(made["id"])


@pytest.fixture
def cluster_made(monkeypatch: pytest.MonkeyPatch, shop: Installation) -> None:
    """Let an install tell of a cluster that is there, without one."""

    def keep(core: Any, session: Any, task: Any, prepared: Any, now: Any) -> tuple[tables.Cluster, NewEvent]:
        cluster = session.get(tables.Cluster, "cls") or tables.Cluster(
            id="cls", project_id="prj", name="blue", mode="platform_managed", endpoint="https://blue:6443",
            environment_id=task.environment_id, kubeconfig_cipher=b"", credential_kind="certificate",
            status="ready", last_check={}, version=1, created_by="usr", created_at=now,
        )  # fmt: skip
        session.add(cluster)
        session.flush()
        return cluster, NewEvent("cluster.created", "cluster", cluster.id, project_id="prj")

    monkeypatch.setattr(managed_clusters, "prepare", lambda *_given: object())
    monkeypatch.setattr(managed_clusters, "keep", keep)


def previewed(shop: Installation, env: str, asked: Any) -> dict[str, Any]:
    task = installs.request_preview(shop.core, operator(shop), env, {"network_entry": asked})
    kind, run = test_installs.work(shop, "install_preview")
    document = {"facts": {}, "plan": test_installs.PLAN, "checks": [], "fingerprint": shop.live}
    kind.end(RunOutcome("successful", 0, {f"{host.name}.preflight": document for host in run.hosts}))
    return installs.await_preview(shop.core, operator(shop), task["task_id"], 0)


def installed(shop: Installation, env: str, asked: Any = ASKED) -> dict[str, Any]:
    task = previewed(shop, env, asked)
    installs.apply(shop.core, operator(shop), env, task["preview_ref"])
    shop.clock.pass_(seconds=1)
    kind, _run = test_installs.work(shop, "install")
    kind.end(RunOutcome("successful", 0, {"cp-a.cluster": {"kubeconfig": "x"}}))
    shop.clock.pass_(seconds=1)
    return installs.get(shop.core, operator(shop), task["task_id"], env)


def entry_previewed(shop: Installation, checks: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    """Let the preview that followed find what it finds; return the post task."""
    entries = Entries(shop)
    kind, run = entries.work("network_entry_preview")
    kind.end(RunOutcome("successful", 0, entries.answers(run, {"kind": "apply"}, checks)))
    found: list[dict[str, Any]] = clusters.get(shop.core, operator(shop), "cls")["post_tasks"]
    return found[-1]


def test_it_is_shown_with_the_install_and_bound_to_its_preview(shop: Installation) -> None:
    env = site(shop)
    one = previewed(shop, env, ASKED)
    shown = one["preview"]["network_entry"]
    assert (shown["mode"], shown["lvs_vip"]["has_auth_pass"]) == ("lvs_vip", True)
    assert PASSWORD not in str(one)
    other = {**ASKED, "lvs_vip": {**ASKED["lvs_vip"], "auth_pass": "another"}}
    assert previewed(shop, env, other)["preview_digest"] != one["preview_digest"]
    assert previewed(shop, env, None)["preview"]["network_entry"] == {"mode": "none"}


@pytest.mark.parametrize(
    ("lvs_vip", "error_key"),
    [
        (None, "validation_error"),
        ({**LVS_VIP, "backend_nodes": ["cp-a"]}, "backend_nodes_invalid"),
        ({**LVS_VIP, "backend_nodes": ["cp-a", "a"]}, "backend_nodes_invalid"),
        ({**LVS_VIP, "backend_nodes": list(NAMES), "vip_address": "192.0.2.10/24"}, "vip_conflict"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_installed(
    shop: Installation, lvs_vip: Any, error_key: str
) -> None:
    env = site(shop)
    with refused(error_key):
        installs.request_preview(
            shop.core, operator(shop), env, {"network_entry": {"mode": "lvs_vip", "lvs_vip": lvs_vip}}
        )
    assert shop.claim() is None


def test_an_environment_without_a_cluster_has_none(shop: Installation) -> None:
    env = test_installs.environment(shop)
    with refused("validation_error"):
        installs.request_preview(shop.core, operator(shop), env, {"network_entry": ASKED})


@pytest.mark.usefixtures("cluster_made")
def test_it_follows_by_itself_once_the_cluster_is_there(shop: Installation) -> None:
    env = site(shop)
    install = installed(shop, env)
    assert install["state"] == "succeeded"
    assert [one["status"] for one in install["post_tasks"]] == ["previewing"]
    assert entry_previewed(shop)["status"] == "previewed"
    assert post_tasks.apply_previewed(shop.core) == 1
    assert post_tasks.apply_previewed(shop.core) == 0, "once"
    task = clusters.get(shop.core, operator(shop), "cls")["post_tasks"][0]
    assert (task["status"], task["follows"]) == ("queued", install["task_id"])
    Entries(shop).work("network_entry")


@pytest.mark.usefixtures("cluster_made")
def test_production_decides_on_it_as_on_any_other(shop: Installation) -> None:
    env = site(shop, "production")
    task = previewed(shop, env, ASKED)
    waiting = installs.apply(shop.core, operator(shop), env, task["preview_ref"])
    approvals.approve(shop.core, shop.approver, waiting["approval_ticket"])
    shop.clock.pass_(seconds=1)
    kind, _run = test_installs.work(shop, "install")
    kind.end(RunOutcome("successful", 0, {"cp-a.cluster": {"kubeconfig": "x"}}))
    entry_previewed(shop)
    assert post_tasks.apply_previewed(shop.core) == 1
    found = clusters.get(shop.core, operator(shop), "cls")["post_tasks"][0]
    assert found["status"] == "pending_approval" and found["approval_ticket"]
    assert shop.claim() is None


@pytest.mark.usefixtures("cluster_made")
def test_its_failure_leaves_the_cluster_and_can_be_retried(shop: Installation) -> None:
    env = site(shop)
    installed(shop, env)
    entry_previewed(shop)
    post_tasks.apply_previewed(shop.core)
    entries = Entries(shop)
    kind, _run = entries.work("network_entry")
    kind.end(RunOutcome("failed", 2, {}))
    task = clusters.get(shop.core, operator(shop), "cls")["post_tasks"][0]
    assert task["state"] == "failed" and entries.show()["status"] == "failed"
    assert environments.get(shop.core, operator(shop), env)["status"] == "ready"
    subject = post_tasks.SUBJECT
    tasks.retry(shop.core, operator(shop), subject, task["task_id"], "cls")
    entries.work("network_entry")


@pytest.mark.usefixtures("cluster_made")
def test_who_may_no_longer_is_told_and_the_cluster_stays(shop: Installation) -> None:
    env = site(shop)
    installed(shop, env)
    entry_previewed(shop)
    with shop.core.database.write() as session:
        session.get_one(tables.User, "usr_releaser").is_disabled = True
    assert post_tasks.apply_previewed(shop.core) == 0
    assert post_tasks.apply_previewed(shop.core) == 0
    entries = Entries(shop)
    task = clusters.get(shop.core, operator(shop), "cls")["post_tasks"][0]
    assert task["status"] == "previewed"
    assert entries.names(task)[-1] == "post_task_refused"


@pytest.mark.usefixtures("cluster_made")
def test_hosts_that_are_gone_meanwhile_are_told_of(
    shop: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = site(shop)

    def gone(*_args: Any) -> Any:
        raise Problem("backend_nodes_invalid", "cp-b is no host of this project")

    task = previewed(shop, env, ASKED)
    installs.apply(shop.core, operator(shop), env, task["preview_ref"])
    monkeypatch.setattr(post_tasks.network_entries, "of_apply", gone)
    kind, _run = test_installs.work(shop, "install")
    kind.end(RunOutcome("successful", 0, {"cp-a.cluster": {"kubeconfig": "x"}}))
    found = installs.get(shop.core, operator(shop), task["task_id"], env)
    assert (found["state"], found["post_tasks"]) == ("succeeded", [])
    assert "post_task_refused" in test_installs.names(shop, found)
