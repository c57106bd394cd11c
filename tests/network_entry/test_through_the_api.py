# SPDX-License-Identifier: Apache-2.0
"""A VIP before real hosts through the API and the command line: applied, seen, measured, refused, taken back."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.automation.entry import likeness
from tests.conformance.site import Refused, Site
from tests.demo import server
from tests.lab import LabHost
from tests.network_entry.cluster import PASSWORD, Cluster, step

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.xdist_group("lab-network-entry"),
    pytest.mark.timeout(900),
]
CONFIG = "/etc/tidegate/network-entry/keepalived.conf"
VRRP = "tidegate-network-entry-vrrp.service"


def test_it_comes_is_measured_and_leaves_nothing(cluster: Cluster, three: list[LabHost]) -> None:
    # The first run makes folders of Ansible's own on a host; they are no part of what is compared.
    preview = cluster.preview()
    before = [likeness(host) for host in three]
    assert (preview["state"], preview["status"]) == ("pending", "previewed"), preview["preview"]["checks"]
    shown = preview["preview"]["hosts"]["nen-a"]
    assert shown["entry"]["interface"] == "eth0" and shown["entry"]["priority"] == 150
    assert "+\tvirtual_router_id 81" in shown["files"][0]["diff"].replace("    ", "\t")
    assert cluster.show()["mode"] == "none"

    task = cluster.ended(cluster.start(preview)["task_id"])
    assert task["state"] == "succeeded", task["diagnostics_json"]
    told = cluster.told(task)
    assert told[:4] == ["previewed", "apply_requested", "approved", "started"] and told[-1] == "ready"
    for host in three:
        assert [one["step"] for one in task["steps"] if one["host"] == host.name] == [
            "preflight", "install", "configure", "activate", "verify",
        ]  # fmt: skip
    entry = cluster.show()
    assert (entry["status"], entry["active_node"], cluster.holders()) == ("ready", "nen-a", ["nen-a"])
    assert all(one["alive"] for one in entry["backends"]) and entry["last_check_at"]
    with pytest.raises(Refused, match="preview_used"):
        cluster.start(preview)

    test = cluster.do("failover_test")
    assert test["state"] == "succeeded", test["diagnostics_json"]
    seen = cluster.events(test)[-1]
    assert seen["action"] == "network_entry.failover_observed"
    print(f"outage {seen['detail']['outage_ms']} ms, floor {seen['detail']['floor_ms']} ms")
    assert (seen["detail"]["from"], seen["detail"]["to"]) == ("nen-a", "nen-b")
    # Who stands back says so, and the next one does not wait as long as for one that died.
    assert 0 <= seen["detail"]["outage_ms"] <= seen["detail"]["floor_ms"] * 1.1 + 200
    assert cluster.show()["last_failover"]["outage_ms"] == seen["detail"]["outage_ms"]

    changed = cluster.do(nopreempt=True)
    assert changed["state"] == "succeeded", changed["diagnostics_json"]
    assert "nopreempt" in three[0].exec(["cat", CONFIG]).stdout
    back = cluster.do("rollback")
    assert (back["state"], back["undoes"]) == ("succeeded", changed["task_id"]), back["diagnostics_json"]
    assert "nopreempt" not in three[0].exec(["cat", CONFIG]).stdout
    assert cluster.task(changed["task_id"])["state"] == "rolled_back"
    assert cluster.until(lambda shown: shown["status"] == "ready")["task_id"] == task["task_id"]

    gone = cluster.do("rollback", remove=True)
    assert gone["state"] == "succeeded", gone["diagnostics_json"]
    assert cluster.show()["mode"] == "none"
    for host, was in zip(three, before, strict=True):
        now = likeness(host)
        for what, lines in was.items():
            assert now[what] == lines, f"{what} of {host.name}"


def test_what_get_tells_is_kept_true(cluster: Cluster, three: list[LabHost]) -> None:
    task = cluster.do()
    assert task["state"] == "succeeded", task["diagnostics_json"]
    three[1].exec(["systemctl", "stop", "behind.service"])
    ill = cluster.until(lambda shown: shown["status"] == "degraded")
    assert {one["reason"] for one in ill["problems"]} == {"backend_dead"}
    three[1].exec(["systemctl", "start", "behind.service"])
    cluster.until(lambda shown: shown["status"] == "ready")

    three[0].exec(["systemctl", "stop", VRRP])
    moved = cluster.until(lambda shown: shown["active_node"] == "nen-b")
    assert moved["last_failover"]["seen_by"] == "check"
    three[0].exec(["systemctl", "start", VRRP])
    cluster.until(lambda shown: shown["status"] == "ready" and shown["active_node"] == "nen-a")

    three[1].exec(["ip", "address", "add", f"{cluster.vip}/24", "dev", "eth0"])
    two = cluster.until(lambda shown: shown["status"] == "failed")
    assert "two_holders" in {one["reason"] for one in two["problems"]}
    three[1].exec(["ip", "address", "del", f"{cluster.vip}/24", "dev", "eth0"])
    cluster.until(lambda shown: shown["status"] == "ready")
    events = cluster.site.admin.get("/events", resource_type="network_entry", resource_id=cluster.id)["items"]
    actions = [event["action"].removeprefix("network_entry.") for event in events]
    assert {"degraded", "recovered", "failover_observed"} <= set(actions)


def test_a_blocking_check_refuses_with_its_key(cluster: Cluster, three: list[LabHost]) -> None:
    three[2].exec(["ip", "address", "add", f"{cluster.vip}/32", "dev", "eth0"])
    try:
        preview = cluster.preview()
    finally:
        three[2].exec(["ip", "address", "del", f"{cluster.vip}/32", "dev", "eth0"])
    assert (preview["preview_ref"], preview["status"]) == (None, "preview_failed")
    found = {(one["code"], one["reason"]) for one in preview["preview"]["checks"]}
    assert ("vip_conflict", "vip_answers") in found
    with pytest.raises(Refused, match="vip_conflict"):
        cluster.preview(vip_address=f"{three[1].address}/24")
    with pytest.raises(Refused, match="backend_nodes_invalid"):
        cluster.preview(backend_nodes=["nen-a", "nobody"])
    if not Path("/proc/net/ip_vs").exists():
        without = cluster.preview(balancer="ipvs")
        assert "kernel_module_missing" in {one["code"] for one in without["preview"]["checks"]}


def test_a_host_that_moved_since_is_left_alone(cluster: Cluster, three: list[LabHost]) -> None:
    preview = cluster.preview()
    three[1].exec(["ip", "address", "add", "10.98.0.1/24", "dev", "eth0"])
    try:
        task = cluster.ended(cluster.start(preview)["task_id"])
    finally:
        three[1].exec(["ip", "address", "del", "10.98.0.1/24", "dev", "eth0"])
    assert (task["state"], task["diagnostics_json"]["error_key"]) == ("failed", "preview_stale")
    assert cluster.holders() == [] and cluster.show()["status"] == "failed"


def test_a_step_that_fails_three_times_is_gone_on_with(cluster: Cluster, three: list[LabHost]) -> None:
    """The unit cannot be started on one host, three times; mended, the task goes on from there."""
    override = f"/etc/systemd/system/{VRRP}.d"
    stop = "[Service]\nExecStartPre=/bin/false\n"
    three[1].exec(["sh", "-c", f"mkdir {override}; cat > {override}/stop.conf"], input=stop)
    try:
        task = cluster.do()
    finally:
        three[1].exec(["rm", "-r", override])
        three[1].exec(["systemctl", "daemon-reload"])
    assert task["state"] == "failed", task
    row = step(task, three[1], "activate")
    assert row and (row["status"], row["attempt"]) == ("failed", 3), row
    assert cluster.show()["status"] == "failed"
    assert cluster.site.admin.get(f"/clusters/{cluster.id}")["status"] == "ready"
    cluster.site.admin.post(f"{cluster.path}/tasks/{task['task_id']}/retry")
    done = cluster.ended(task["task_id"])
    assert done["state"] == "succeeded", done["diagnostics_json"]
    again = step(done, three[1], "activate")
    assert again and again["attempt"] == 4 and cluster.show()["status"] == "ready"


def test_production_waits_for_somebody_else(site: Site, three: list[LabHost]) -> None:
    production = Cluster.make(site, three, f"{three[0].address.rsplit('.', 1)[0]}.241", "production")
    waiting = production.start(production.preview())
    assert (waiting["status"], waiting["approval_required"]) == ("pending_approval", True)
    ticket = site.admin.get(f"/approvals/inbox/{waiting['approval_ticket']}")
    assert ticket["scope_type"] == "network_entry"
    assert ticket["network_entry_task"]["task_id"] == waiting["task_id"]
    with pytest.raises(Refused, match="self_approval_denied"):
        site.admin.post(f"/approvals/inbox/{waiting['approval_ticket']}/approve", {"comment": "mine"})
    assert production.holders() == []
    cancelled = site.admin.post(f"{production.path}/tasks/{waiting['task_id']}/cancel")
    assert (cancelled["state"], cancelled["status"]) == ("cancelled", "cancelled")


def test_the_command_line_does_it_and_no_secret_is_seen(
    cluster: Cluster, three: list[LabHost], tmp_path: Path
) -> None:
    (tmp_path / "password").write_text(PASSWORD + "\n")
    words = [
        "--vip", f"{cluster.vip}/24", "--virtual-router-id", "81", "--balancer", "none", "--health-kind", "https",
        "--auth-pass-file", str(tmp_path / "password"), *(f"--backend={host.name}" for host in three),
    ]  # fmt: skip
    previewed = tidegate(cluster.site, "preview", cluster.name, *words)
    assert previewed.returncode == 0, previewed.stdout + previewed.stderr
    assert "add keepalived.conf" in previewed.stdout and "priority 150" in previewed.stdout
    applied = tidegate(cluster.site, "apply", cluster.name, *words, "--yes")
    assert applied.returncode == 0, applied.stdout + applied.stderr
    assert "network_entry.ready" in applied.stdout
    shown = tidegate(cluster.site, "show", cluster.name)
    assert shown.returncode == 0 and "nen-a" in shown.stdout
    (task,) = cluster.site.admin.get(f"{cluster.path}/tasks", state="succeeded")["items"]
    assert "activate" in tidegate(cluster.site, "show", cluster.name, task["task_id"]).stdout
    failover = tidegate(cluster.site, "failover-test", cluster.name, "--yes")
    assert failover.returncode == 0, failover.stdout + failover.stderr
    assert "from nen-a to nen-b:" in failover.stdout
    logs = tidegate(cluster.site, "logs", cluster.name, task["task_id"])
    assert logs.returncode == 0 and "One holder" in logs.stdout
    refused = tidegate(cluster.site, "retry", cluster.name, task["task_id"])
    assert refused.returncode == 7, refused.stdout + refused.stderr
    removed = tidegate(cluster.site, "rollback", cluster.name, "--remove", "--yes")
    assert removed.returncode == 0, removed.stdout + removed.stderr
    said = [one.stdout + one.stderr for one in (previewed, applied, shown, failover, logs, removed)]
    said.append(str(cluster.site.admin.get("/events", limit=500)))
    said.append((cluster.site.home / "server.log").read_text(errors="replace"))
    assert all(PASSWORD not in text for text in said)


def tidegate(site: Site, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `tidegate network-entry` as the administrator."""
    login = {"TIDEGATE_URL": site.admin.url, "TIDEGATE_TOKEN": site.admin.token, "COLUMNS": "200"}
    return subprocess.run(
        [*server.command(), "network-entry", *words],
        env={**os.environ, **login},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
