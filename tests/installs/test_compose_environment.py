# SPDX-License-Identifier: Apache-2.0
"""Bare hosts become a Compose environment through the API, are released to, and are bare again."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable

import pytest

from tests.conformance.site import ComposeHosts, Refused, Site, compose
from tests.demo import server
from tests.installs.environment import Environment, statuses
from tests.lab import LabHost

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.xdist_group("lab-bundle"),
    pytest.mark.timeout(900),
]
Bare = Callable[[str], LabHost]


def test_two_bare_hosts_to_a_release(site: Site, bare: Bare) -> None:
    first, second = bare("one"), bare("two")
    for host in (first, second):
        # Nothing but the lab's own network is within reach: what is installed came over SSH.
        host.exec(["ip", "route", "del", "default"])
        assert host.exec(["ip", "route", "get", "192.0.2.1"], check=False).returncode != 0
    environment = Environment.make(site, first, second)
    assert environment.show()["status"] == "draft"

    preview = environment.preview()
    assert (preview["state"], preview["status"]) == ("pending", "previewed")
    plan = {one["step"]: one["action"] for one in preview["preview"]["hosts"][first.name]["plan"]}
    assert plan["container_runtime"] == "run"
    assert preview["preview"]["bundle"]["digest"] == preview["bundle_digest"]
    assert first.exec(["sh", "-c", "command -v docker"], check=False).returncode != 0

    task = environment.ended(environment.apply(preview)["task_id"])
    assert task["state"] == "succeeded", task["diagnostics_json"]
    for host in (first, second):
        assert statuses(task, host)["container_runtime"] == "succeeded"
    told = environment.told(task)
    assert told[:4] == ["previewed", "requested", "approved", "started"]
    assert told.count("step_succeeded") >= 6 and told[-1] == "succeeded"
    assert environment.show()["status"] == "ready"
    with pytest.raises(Refused, match="preview_used"):
        environment.apply(preview)

    lines = site.admin.get(f"{environment.path}/install/tasks/{task['task_id']}/logs", q="engine runs")
    assert lines["items"] and all("engine runs" in one["stdout"].lower() for one in lines["items"])

    ids = [node["host_id"] for node in environment.show()["nodes"]]
    target = {"project_id": site.project_id, "name": "on-installed", "environment_id": environment.id}
    target_id = site.admin.post("/deploy/targets", {**target, "host_ids": ids})["id"]
    service = site.service()
    service.add("1", compose("web"), ["1"])
    release = service.release(target_id, "1", variables={"tag": "1", "port": 8080})
    assert release["lifecycle_state"] == "applied", release["diagnostics_json"]
    for host in (first, second):
        assert set(ComposeHosts().running(host, service)) == {"web"}

    again = environment.install()
    assert set(statuses(again, first).values()) == {"unchanged"}
    assert environment.health()["healthy"] is True


def test_what_was_installed_is_taken_away_again(site: Site, bare: Bare) -> None:
    host = bare("three")
    environment = Environment.make(site, host)
    task = environment.install()
    assert task["state"] == "succeeded", task["diagnostics_json"]
    rollback = environment.install("rollback")
    assert (rollback["state"], rollback["undoes"]) == ("succeeded", task["task_id"]), rollback
    assert environment.task(task["task_id"])["state"] == "rolled_back"
    assert environment.show()["status"] == "draft"
    assert host.exec(["sh", "-c", "command -v docker"], check=False).returncode != 0
    with pytest.raises(Refused, match="nothing was installed"):
        environment.preview("rollback")


def test_a_production_install_waits_for_somebody_else(site: Site, bare: Bare) -> None:
    host = bare("four")
    environment = Environment.make(site, host, stage="production")
    waiting = environment.apply(environment.preview())
    assert (waiting["status"], waiting["approval_required"]) == ("pending_approval", True)
    ticket = site.admin.get(f"/approvals/inbox/{waiting['approval_ticket']}")
    assert ticket["scope_type"] == "install" and host.name in ticket["summary"]
    assert ticket["install_task"]["task_id"] == waiting["task_id"]
    with pytest.raises(Refused, match="self_approval_denied"):
        site.admin.post(f"/approvals/inbox/{waiting['approval_ticket']}/approve", {"comment": "mine"})
    assert host.exec(["sh", "-c", "command -v docker"], check=False).returncode != 0
    cancelled = site.admin.post(f"{environment.path}/install/tasks/{waiting['task_id']}/cancel")
    assert (cancelled["state"], cancelled["status"]) == ("cancelled", "cancelled")
    assert site.admin.get(f"/approvals/inbox/{waiting['approval_ticket']}")["status"] == "cancelled"


def test_a_host_that_dies_is_gone_on_with(site: Site, bare: Bare) -> None:
    steady, weak = bare("five"), bare("six")
    environment = Environment.make(site, steady, weak)
    started = environment.apply(environment.preview())
    environment.when(
        started["task_id"],
        lambda task: statuses(task, weak).get("container_runtime") == "running",
    )
    weak.kill()
    failed = environment.ended(started["task_id"])
    assert failed["state"] == "failed"
    assert failed["diagnostics_json"]["failure_domain"] == "connection", failed["diagnostics_json"]
    assert environment.show()["status"] == "failed"
    weak.start()
    path = f"{environment.path}/install/tasks/{started['task_id']}"
    site.admin.post(f"{path}/retry")
    done = environment.ended(started["task_id"])
    assert done["state"] == "succeeded", done["diagnostics_json"]
    again = {step["step"]: step for step in done["steps"] if step["host"] == weak.name}
    assert again["container_runtime"]["attempt"] == 2
    assert again["container_runtime"]["status"] in ("succeeded", "unchanged")
    with pytest.raises(Refused, match="conflict"):
        site.admin.post(f"{path}/retry")


def test_what_stands_in_the_way_blocks(site: Site, bare: Bare) -> None:
    host = bare("seven")
    environment = Environment.make(site, host)
    host.kill()
    preview = environment.preview()
    assert (preview["preview_ref"], preview["status"]) == (None, "preview_failed")
    assert {check["code"] for check in preview["preview"]["checks"]} == {"ssh_unreachable"}
    host.start()
    stale = environment.preview()
    environment.install()
    with pytest.raises(Refused, match="preview_stale"):
        environment.apply(stale)
    empty = site.admin.post(
        "/environments",
        {"project_id": site.project_id, "name": "empty", "stage": "development", "mode": "platform_managed"},
    )
    with pytest.raises(Refused, match="insufficient_nodes"):
        site.admin.post(f"/environments/{empty['id']}/install/preview", {})


def test_the_command_line_installs_and_ends_with_the_outcome(site: Site, bare: Bare) -> None:
    host = bare("eight")
    environment = Environment.make(site, host)
    name = environment.show()["name"]
    blocked = tidegate(site, "environment", "install", "preview", name, "--runtime-version", "0.1")
    assert blocked.returncode == 8, blocked.stdout + blocked.stderr
    assert "artifact_version_unsupported" in blocked.stdout
    done = tidegate(site, "environment", "install", "apply", name, "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "+ container_runtime" in done.stdout and "environment.install_succeeded" in done.stdout
    (task,) = site.admin.get(f"{environment.path}/install/tasks", state="succeeded")["items"]
    shown = tidegate(site, "environment", "install", "show", name, task["task_id"])
    assert "compose_environment" in shown.stdout
    logs = tidegate(site, "environment", "install", "logs", name, task["task_id"], "--search", "engine runs")
    assert "The engine runs" in logs.stdout
    assert tidegate(site, "environment", "health", name).returncode == 0
    host.exec(["systemctl", "stop", "docker.service"])
    ill = tidegate(site, "environment", "health", name)
    assert ill.returncode == 1 and host.name in ill.stdout
    assert environment.show()["status"] == "failed"


def tidegate(site: Site, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command as the administrator."""
    login = {"TIDEGATE_URL": site.admin.url, "TIDEGATE_TOKEN": site.admin.token, "COLUMNS": "200"}
    return subprocess.run(
        [*server.command(), *words],
        env={**os.environ, **login},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
