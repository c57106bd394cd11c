# SPDX-License-Identifier: Apache-2.0
"""Nodes are taken out of a cluster by a task that was previewed, and by no other word."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.domain.errors import Problem
from controlplane.ports.runner import PlaybookRun, RunEvent, RunOutcome
from controlplane.services import approvals, environments, installs
from controlplane.services.job_kind import JobKind
from controlplane.store import pages, tables
from tests.services.installation import HOST_KEY, Installation
from tests.services.test_installs import begun, operator, refused, step, told, work

WORKERS = ("b", "c")
PLAN = [{"step": "worker_join", "action": "run", "detail": ""}]


@pytest.fixture
def env(shop: Installation) -> str:
    """A cluster of a control plane and two workers; the workers' names come first in the alphabet."""
    return cluster(shop, "development")


def cluster(shop: Installation, stage: str, role: str = "worker") -> str:
    with shop.core.database.write() as session:
        for name in (*WORKERS, "z"):
            if session.get(tables.Host, f"hst_{name}") is None:
                session.add(
                    tables.Host(
                        id=f"hst_{name}", project_id="prj", name=name, address=f"192.0.2.{ord(name)}", user="root",
                        created_at=shop.clock.now(), host_key=HOST_KEY, host_key_status="pinned",
                        private_key_cipher=shop.core.vault.encrypt(b"key"),
                    )
                )  # fmt: skip
    given = {"project_id": "prj", "name": f"east-{stage}", "stage": stage, "mode": "platform_managed"}
    given |= {"runtime_type": "k8s", "nodes": nodes("z", *WORKERS, role=role)}
    made = str(environments.create(shop.core, operator(shop), given)["id"])
    task = previewed(shop, made, installs.request_preview(shop.core, operator(shop), made, {}), "z", *WORKERS)
    installed(shop, made, task)
    return made


def nodes(plane: str, *others: str, role: str = "worker") -> list[dict[str, str]]:
    return [{"host_id": f"hst_{plane}", "role": "control_plane"}] + [
        {"host_id": f"hst_{name}", "role": role} for name in others
    ]


def previewed(shop: Installation, env: str, task: dict[str, Any], *hosts: str) -> dict[str, Any]:
    kind, run = work(shop, "install_preview")
    assert sorted(host.name for host in run.hosts) == sorted(hosts)
    plans = dict.fromkeys(hosts, PLAN)
    plans["z"] = [{"step": "control_plane_init", "action": "run", "detail": ""}]
    documents = {
        f"{name}.preflight": {"facts": {}, "plan": plans[name], "checks": [], "fingerprint": shop.live}
        for name in hosts
    }
    kind.end(RunOutcome("successful", 0, documents))
    return installs.await_preview(shop.core, operator(shop), task["task_id"], 0)


def installed(shop: Installation, env: str, task: dict[str, Any]) -> None:
    installs.apply(shop.core, operator(shop), env, task["preview_ref"])
    if task["stage"] == "production":
        ticket = installs.get(shop.core, operator(shop), task["task_id"], env)["approval_ticket"]
        approvals.approve(shop.core, shop.approver, ticket)
    shop.clock.pass_(seconds=1)
    kind, _run = work(shop, "install")
    kind.record([on("z", begun(1, "control_plane_init"))])
    kind.record([on(name, begun(2, "worker_join")) for name in WORKERS])
    kind.record([on("z", told(3, step("control_plane_init"), action="control_plane_init"))])
    kind.end(RunOutcome("successful", 0, {}))
    shop.clock.pass_(seconds=1)


def on(host: str, event: RunEvent) -> RunEvent:
    return RunEvent(**{**event.__dict__, "host": host})


def removal(
    shop: Installation, env: str, *hosts: str, asked: tuple[str, ...] = (), **more: Any
) -> dict[str, Any]:
    body = {"host_ids": [f"hst_{name}" for name in hosts], **more}
    task = installs.request_removal(shop.core, operator(shop), env, body)
    return previewed(shop, env, task, *(asked or ("z", *WORKERS)))


def begin(shop: Installation, env: str, task: dict[str, Any]) -> tuple[JobKind, PlaybookRun]:
    installs.apply(shop.core, operator(shop), env, task["preview_ref"], "removal")
    shop.clock.pass_(seconds=1)
    return work(shop, "install")


def names(shop: Installation, env: str) -> list[str]:
    return [node["name"] for node in environments.get(shop.core, operator(shop), env)["nodes"]]


def test_a_removal_is_shown_bound_and_forgets_the_node_at_its_end(shop: Installation, env: str) -> None:
    task = removal(shop, env, "b", inputs={"drain_seconds": 9})
    assert (task["kind"], task["preview"]["binding"]["removes"]) == ("removal", ["hst_b"])
    assert task["preview"]["risk_reasons"] == ["something that runs would be deleted"]
    for kind in ("install", "rollback"):
        with refused("preview_mismatch"):
            installs.apply(shop.core, operator(shop), env, task["preview_ref"], kind)
    job, run = begin(shop, env, task)
    assert run.playbook == "environment_remove_nodes.yml"
    spec = run.documents["environment_spec_file"]
    assert (spec["remove"], spec["inputs"]) == (["b"], {"drain_seconds": 9})
    # The control plane that the cluster began with is the first, whatever it is called.
    assert [one["host"] for one in spec["nodes"]] == ["z", "b", "c"]
    assert names(shop, env) == ["b", "c", "z"]
    job.end(RunOutcome("successful", 0, {}))
    assert names(shop, env) == ["c", "z"]
    assert environments.get(shop.core, operator(shop), env)["status"] == "ready"


def test_a_removal_that_fails_leaves_the_node_and_can_be_retried(shop: Installation, env: str) -> None:
    task = removal(shop, env, "b")
    job, _run = begin(shop, env, task)
    failed = step("node_drain", "failed", error_key="node_drain_failed")
    job.record(
        [on("z", told(1, failed, action="node_drain", error_key="node_drain_failed", msg="held by web"))]
    )
    job.end(RunOutcome("failed", 2, {}))
    shown = installs.get(shop.core, operator(shop), task["task_id"], env)
    assert (shown["state"], shown["diagnostics_json"]["error_key"]) == ("failed", "node_drain_failed")
    assert "disruption budgets" in shown["diagnostics_json"]["hints"][0]
    assert names(shop, env) == ["b", "c", "z"]
    assert environments.get(shop.core, operator(shop), env)["status"] == "ready"
    shop.clock.pass_(seconds=1)
    installs.retry(shop.core, operator(shop), task["task_id"], env)
    job, _run = work(shop, "install")
    job.end(RunOutcome("successful", 0, {}))
    assert names(shop, env) == ["c", "z"]


def test_a_lost_worker_is_asked_nothing(shop: Installation, env: str) -> None:
    task = removal(shop, env, "c", asked=("z", "b"), is_lost=True)
    job, run = begin(shop, env, task)
    assert sorted(host.name for host in run.hosts) == ["b", "z"]
    assert run.documents["environment_spec_file"]["lost"] is True
    job.end(RunOutcome("successful", 0, {}))
    assert names(shop, env) == ["b", "z"]


@pytest.mark.parametrize(
    ("hosts", "error_key"),
    [
        ((), "validation_error"),
        (("b", "b"), "validation_error"),
        (("nobody",), "not_found"),
        (("z",), "node_role_invalid"),
    ],
)
def test_what_cannot_leave_is_refused(
    shop: Installation, env: str, hosts: tuple[str, ...], error_key: str
) -> None:
    with refused(error_key):
        removal(shop, env, *hosts)


def test_control_planes_leave_but_for_the_first_and_two_that_are_left_can_be_taken_away(
    shop: Installation,
) -> None:
    env = cluster(shop, "development", role="control_plane")
    with pytest.raises(Problem, match="z is the control plane that the cluster began with") as caught:
        removal(shop, env, "z")
    assert caught.value.error_key == "node_role_invalid" and "whole cluster" in caught.value.hint
    job, run = begin(shop, env, removal(shop, env, "b"))
    assert run.documents["environment_spec_file"]["remove"] == ["b"]
    job.end(RunOutcome("successful", 0, {}))
    assert names(shop, env) == ["c", "z"]
    shop.clock.pass_(seconds=1)

    with pytest.raises(Problem, match="one or three control planes, not 2") as two:
        installs.request_preview(shop.core, operator(shop), env, {})
    assert "leaves it by a removal" in two.value.hint
    task = installs.request_rollback(shop.core, operator(shop), env)
    task = previewed(shop, env, task, "c", "z")
    assert [node["name"] for node in task["nodes"]] == ["c", "z"]
    installs.cancel(shop.core, operator(shop), task["task_id"], env)
    assert removal(shop, env, "c", asked=("c", "z"))["preview_ref"]


def test_a_compose_host_leaves_in_no_such_way(shop: Installation) -> None:
    given = {"project_id": "prj", "name": "plain", "stage": "development", "mode": "platform_managed"}
    made = environments.create(shop.core, operator(shop), {**given, "host_ids": ["hst"]})
    with refused("validation_error"):
        installs.request_removal(shop.core, operator(shop), made["id"], {"host_ids": ["hst"]})


def test_no_node_leaves_a_cluster_by_being_left_out(shop: Installation, env: str) -> None:
    for wanted in (nodes("z", "b"), nodes("b", "c", "z"), []):
        with pytest.raises(Problem, match="would leave the cluster"):
            environments.set_nodes(shop.core, operator(shop), env, wanted)
    added = environments.set_nodes(
        shop.core, operator(shop), env, [*nodes("z", *WORKERS), {"host_id": "hst", "role": "worker"}]
    )
    assert [node["name"] for node in added["nodes"]] == ["a", "b", "c", "z"]
    # It has not joined yet, so nobody has to be told.
    environments.set_nodes(shop.core, operator(shop), env, nodes("z", *WORKERS))


def test_one_that_left_may_come_back_and_a_rollback_leaves_it_alone(shop: Installation, env: str) -> None:
    job, _run = begin(shop, env, removal(shop, env, "b"))
    job.end(RunOutcome("successful", 0, {}))
    shop.clock.pass_(seconds=1)
    task = installs.request_rollback(shop.core, operator(shop), env)
    assert [node["name"] for node in task["nodes"]] == ["c", "z"]
    environments.set_nodes(shop.core, operator(shop), env, nodes("z", *WORKERS))
    environments.set_nodes(shop.core, operator(shop), env, nodes("z", "c"))


def test_a_rollback_of_the_first_install_takes_along_what_joined_since(shop: Installation, env: str) -> None:
    first = installs.list_(shop.core, operator(shop), env, {}, pages.PageRequest())["items"][0]
    wanted = [*nodes("z", *WORKERS), {"host_id": "hst", "role": "worker"}]
    environments.set_nodes(shop.core, operator(shop), env, wanted)
    task = installs.request_preview(shop.core, operator(shop), env, {})
    task = previewed(shop, env, task, "a", "z", *WORKERS)
    installs.apply(shop.core, operator(shop), env, task["preview_ref"])
    shop.clock.pass_(seconds=1)
    kind, _run = work(shop, "install")
    kind.record([on("a", begun(1, "worker_join"))])
    kind.end(RunOutcome("successful", 0, {}))
    shop.clock.pass_(seconds=1)

    undone = installs.request_rollback(shop.core, operator(shop), env, first["task_id"])
    assert {node["name"] for node in undone["nodes"]} == {"a", "b", "c", "z"}


def test_the_rollback_of_a_later_install_leaves_the_cluster_its_members(shop: Installation, env: str) -> None:
    installed(shop, env, previewed(shop, env, again(shop, env), "z", *WORKERS))
    back = previewed(shop, env, installs.request_rollback(shop.core, operator(shop), env), "z", *WORKERS)
    installs.apply(shop.core, operator(shop), env, back["preview_ref"], "rollback")
    shop.clock.pass_(seconds=1)
    job, run = work(shop, "install")
    assert len(run.documents["environment_spec_file"]["rollback"]["undoes"]) == 1
    job.end(RunOutcome("successful", 0, {}))
    with pytest.raises(Problem, match="would leave the cluster"):
        environments.set_nodes(shop.core, operator(shop), env, nodes("z", "b"))


def again(shop: Installation, env: str) -> dict[str, Any]:
    return installs.request_preview(shop.core, operator(shop), env, {})


def test_in_production_somebody_else_decides(shop: Installation) -> None:
    env = cluster(shop, "production")
    task = removal(shop, env, "b")
    waiting = installs.apply(shop.core, operator(shop), env, task["preview_ref"], "removal")
    assert (waiting["status"], waiting["approval_required"]) == ("pending_approval", True)
    ticket = approvals.approve(shop.core, shop.approver, waiting["approval_ticket"])
    assert ticket["summary"] == "take b out of the cluster of environment east-production"


def test_a_director_of_the_network_entry_stays_until_the_entry_is_gone(shop: Installation, env: str) -> None:
    now = shop.clock.now()
    with shop.core.database.write() as session:
        session.add(
            tables.Cluster(
                id="cls_east", project_id="prj", name="east", mode="platform_managed", environment_id=env,
                endpoint="https://192.0.2.1:6443", status="ready", version=1, created_by="usr", created_at=now,
                kubeconfig_cipher=b"", credential_kind="token",
            )
        )  # fmt: skip
        session.flush()
        session.add(
            tables.NetworkEntry(
                cluster_id="cls_east", project_id="prj", task_id="tsk", is_applied=True, status="ready",
                parameters={"vip_address": "192.0.2.240/24", "directors": ["b"], "backend_nodes": [{"host": "z"}]},
                nodes=[{"host_id": f"hst_{name}", "name": name, "role": "worker"} for name in ("b", "c", "z")],
                created_at=now,
            )
        )  # fmt: skip
    with pytest.raises(Problem, match="b has a part in the network entry"):
        removal(shop, env, "b")
    assert removal(shop, env, "c")["preview_ref"]
