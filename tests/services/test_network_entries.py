# SPDX-License-Identifier: Apache-2.0
"""The life of a network entry, as the services tell it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from controlplane.domain.errors import Problem
from controlplane.domain.permission import Actor
from controlplane.ports.runner import PlaybookRun, RunEvent, RunOutcome
from controlplane.services import (
    approvals,
    clusters,
    expiry,
    hosts,
    network_entries,
    network_entry_check,
    tasks,
    timeline,
)
from controlplane.services.job_kind import JobKind
from controlplane.services.job_kinds import KINDS
from controlplane.store import tables
from controlplane.store.pages import PageRequest
from tests.services.installation import HOST_KEY, Installation

SUBJECT = network_entries.SUBJECT
PASSWORD = "canary8x"
NAMES = ("cp-a", "cp-b", "cp-c")
LVS_VIP: dict[str, Any] = {
    "vip_address": "192.0.2.240/24",
    "virtual_router_id": 51,
    "auth_pass": PASSWORD,
    "backend_nodes": list(NAMES),
    "balancer": "none",
}


def refused(error_key: str) -> Any:
    return pytest.raises(Problem, match=error_key)


def operator(shop: Installation) -> Actor:
    return shop.actor("releaser", "operator")


@dataclass
class Entries:
    """A cluster of three registered hosts, and what a playbook would say of its entry."""

    shop: Installation
    cluster: str = "cls"

    def request(self, **asked: Any) -> dict[str, Any]:
        given = {"kind": "apply", "lvs_vip": LVS_VIP, **asked}
        return network_entries.request_preview(self.shop.core, operator(self.shop), self.cluster, given)

    def preview(self, checks: tuple[dict[str, Any], ...] = (), **asked: Any) -> dict[str, Any]:
        """Preview to the end, with these checks found on the first host."""
        task = self.request(**asked)
        kind, run = self.work("network_entry_preview")
        kind.end(RunOutcome("successful", 0, self.answers(run, task, checks)))
        return tasks.await_preview(self.shop.core, operator(self.shop), SUBJECT, task["task_id"], 0)

    def answers(
        self, run: PlaybookRun, task: dict[str, Any], checks: tuple[dict[str, Any], ...]
    ) -> dict[str, Any]:
        if task["kind"] == "failover_test":
            return found(run)
        file = {"path": "keepalived.conf", "action": "add", "before": "", "after": "x\n", "diff": "+x\n"}
        document = {
            "fingerprint": self.shop.live, "fingerprint_parts": {"units": self.shop.live}, "files": [file],
            "entry": {"interface": "eth0", "installed": False}, "rollback": {"operation": None, "after": ""},
        }  # fmt: skip
        first = run.hosts[0].name
        return {
            f"{host.name}.preview": {**document, "checks": list(checks) if host.name == first else []}
            for host in run.hosts
        }

    def work(self, kind: str) -> tuple[JobKind, PlaybookRun]:
        """Take the next job, which must be of this kind, as far as its run."""
        lease = self.shop.claim()
        assert lease is not None and lease.kind == kind, lease
        made = KINDS[kind](self.shop.core, lease)
        run = made.begin()
        assert run is not None
        assert run.group == "network_entry_hosts"
        return made, run

    def start(self, preview: dict[str, Any]) -> dict[str, Any]:
        return tasks.apply(
            self.shop.core,
            operator(self.shop),
            SUBJECT,
            self.cluster,
            preview["preview_ref"],
            preview["kind"],
        )

    def applied(self, **asked: Any) -> dict[str, Any]:
        task = self.preview(**asked)
        self.start(task)
        self.shop.clock.pass_(seconds=1)
        kind, run = self.work("network_entry")
        kind.record([begun("network_entry_prepare"), told(step("preflight", "unchanged"), step("install"))])
        kind.end(RunOutcome("successful", 0, found(run, "verify")))
        self.shop.clock.pass_(seconds=1)
        return self.task(task)

    def task(self, task: dict[str, Any]) -> dict[str, Any]:
        return tasks.get(self.shop.core, operator(self.shop), SUBJECT, task["task_id"], self.cluster)

    def show(self) -> dict[str, Any]:
        return network_entries.show(self.shop.core, operator(self.shop), self.cluster)

    def names(self, task: dict[str, Any]) -> list[str]:
        page = tasks.timeline_of(self.shop.core, operator(self.shop), SUBJECT, task["task_id"], self.cluster)
        return [event["action"].removeprefix("network_entry.") for event in page["items"]]

    def checked(self, run_outcome: Any = None, **entry: Any) -> None:
        """Let the scheduled check find this."""
        self.shop.clock.pass_(minutes=2)
        assert network_entry_check.look_where_due(self.shop.core) == 1
        assert network_entry_check.look_where_due(self.shop.core) == 0, "one at a time"
        kind, run = self.work("network_entry_check")
        kind.end(run_outcome or RunOutcome("successful", 0, found(run, **entry)))

    def told_of_cluster(self) -> list[dict[str, Any]]:
        filters = {"resource_type": "network_entry", "resource_id": self.cluster}
        page = timeline.of_all(self.shop.core, self.shop.actor("reader", "auditor"), filters)
        return [{**event["detail"], "action": event["action"]} for event in page["items"]]


def found(run: PlaybookRun, verb: str = "status", **entry: Any) -> dict[str, Any]:
    """What the verdict says of an entry."""
    whole = {
        "status": "ready", "active_node": run.hosts[0].name, "vip_address": LVS_VIP["vip_address"], "problems": [],
        "backends": [{"host": host.name, "alive": True} for host in run.hosts], **entry,
    }  # fmt: skip
    live = {"installed": True, "vip": LVS_VIP["vip_address"], "priority": 150}
    steps = [] if verb == "status" else [step(verb, "unchanged")]
    more = {}
    if verb == "failover":
        more = {"failover": {"from": NAMES[0], "to": NAMES[1], "outage_ms": 3400, "floor_ms": 3433}}
    return {
        f"{host.name}.{verb}": {"host": host.name, "entry": whole, "live": live, "steps": steps, **more}
        for host in run.hosts
    }


def begun(action: str) -> RunEvent:
    return event(action, "runner_on_start", None)


def told(*steps: dict[str, Any], failed: bool = False, **more: Any) -> RunEvent:
    data = {"changed": True, "steps": list(steps), **more}
    return event("network_entry_prepare", "runner_on_failed" if failed else "runner_on_ok", data, failed)


def event(action: str, kind: str, data: dict[str, Any] | None, failed: bool = False) -> RunEvent:
    return RunEvent(
        counter=1, kind=kind, at="2026-01-01T12:00:00Z", host=NAMES[0], action=f"tidegate.deploy.{action}",
        play="", task_id="1", changed=True, failed=failed, ignored=False, unreachable=False, duration=0.1,
        stdout="", data=data,
    )  # fmt: skip


def step(name: str, status: str = "succeeded", at: str = "2026-01-01T12:00:00Z", **detail: Any) -> Any:
    return {
        "step": name,
        "status": status,
        "started_at": at,
        "duration_ms": 5,
        "exit_code": 0,
        "detail": detail,
    }


@pytest.fixture
def entries(shop: Installation) -> Entries:
    add_cluster(shop, "development")
    return Entries(shop)


def add_cluster(shop: Installation, stage: str | None, cluster: str = "cls") -> None:
    """Bring in a cluster that is used in a stage, and its hosts."""
    core, now = shop.core, shop.clock.now()
    with core.database.write() as session:
        for number, name in enumerate(NAMES):
            if session.get(tables.Host, f"hst_{name}") is None:
                session.add(
                    tables.Host(
                        id=f"hst_{name}", project_id="prj", name=name, address=f"192.0.2.{number + 10}",
                        user="root", created_at=now, host_key=HOST_KEY, host_key_status="pinned",
                        private_key_cipher=core.vault.encrypt(b"key"),
                    )
                )  # fmt: skip
        session.add(
            tables.Cluster(
                id=cluster, project_id="prj", name=f"blue-{cluster}", endpoint="https://192.0.2.10:6443",
                kubeconfig_cipher=core.vault.encrypt(b"{}"), credential_kind="token", created_by="usr",
                created_at=now,
            )
        )  # fmt: skip
        session.flush()
        if stage:
            session.add(
                tables.Target(
                    id=f"tgt_{cluster}", project_id="prj", name=f"on-{cluster}",
                    environment_id=f"env_{stage}", runtime_type="k8s", cluster_id=cluster, namespace="shop",
                    created_at=now,
                )
            )  # fmt: skip


def test_an_entry_is_applied_and_seen(entries: Entries) -> None:
    assert (entries.show()["mode"], entries.show()["status"]) == ("none", "none")
    task = entries.applied()
    assert task["state"] == "succeeded", task["diagnostics_json"]
    assert entries.names(task) == [
        "previewed", "apply_requested", "approved", "started", "step_started", "step_succeeded",
        "step_succeeded", "step_succeeded", "step_succeeded", "step_succeeded", "ready",
    ]  # fmt: skip
    assert [(one["host"], one["step"]) for one in task["steps"]] == [
        ("cp-a", "preflight"), ("cp-a", "install"), ("cp-a", "verify"), ("cp-b", "verify"), ("cp-c", "verify"),
    ]  # fmt: skip
    shown = entries.show()
    assert (shown["mode"], shown["status"], shown["active_node"]) == ("lvs_vip", "ready", "cp-a")
    assert shown["lvs_vip"]["directors"] == list(NAMES) and shown["task_id"] == task["task_id"]


def test_what_runs_is_what_was_previewed(entries: Entries) -> None:
    task = entries.preview(cluster_networks={"pod": "10.244.0.0/16"})
    entries.start(task)
    _kind, run = entries.work("network_entry")
    spec = run.documents["network_entry_spec_file"]
    assert run.playbook == "network_entry_apply.yml"
    assert spec["entry_id"] == "cls" and spec["cluster_networks"] == {"pod": "10.244.0.0/16"}
    assert spec["nodes"][0] == {"host": "cp-a", "address": "192.0.2.10", "role": "worker"}
    assert spec["expect"] == {
        "compare_fingerprint": True,
        "fingerprints": dict.fromkeys(NAMES, entries.shop.live),
        "fingerprint_parts": {name: {"units": entries.shop.live} for name in NAMES},
        "unreached": [],
    }
    assert spec["task_id"] == task["task_id"] and spec["fencing_token"] > 0


def test_the_password_is_kept_encrypted_and_never_told(entries: Entries) -> None:
    task = entries.applied()
    shown = [entries.show(), task, tasks.list_(
        entries.shop.core, operator(entries.shop), SUBJECT, "cls", {}, PageRequest()
    ), tasks.timeline_of(entries.shop.core, operator(entries.shop), SUBJECT, task["task_id"], "cls")]  # fmt: skip
    assert PASSWORD not in str(shown)
    assert entries.show()["lvs_vip"]["has_auth_pass"] is True
    with entries.shop.core.database.read() as session:
        for table in tables.Base.metadata.sorted_tables:
            for row in session.execute(table.select()):
                assert PASSWORD not in str(row), table.name


def test_production_waits_for_somebody_else(shop: Installation) -> None:
    add_cluster(shop, "production")
    entries = Entries(shop)
    waiting = entries.start(entries.preview())
    assert (waiting["status"], waiting["approval_required"]) == ("pending_approval", True)
    assert shop.claim() is None
    with refused("self_approval_denied"):
        approvals.approve(shop.core, operator(shop), waiting["approval_ticket"])
    ticket = approvals.approve(shop.core, shop.approver, waiting["approval_ticket"])
    assert (ticket["status"], ticket["scope_type"]) == ("approved", "network_entry")
    assert ticket["network_entry_task"]["status"] == "queued" and ticket["install_task"] is None
    assert "virtual IP" in ticket["summary"] and "cp-b" in ticket["summary"]


def test_a_cluster_of_which_no_stage_is_known_is_production(shop: Installation) -> None:
    add_cluster(shop, None)
    assert Entries(shop).request()["stage"] == "production"


def test_the_strictest_use_of_a_cluster_counts(entries: Entries) -> None:
    with entries.shop.core.database.write() as session:
        session.add(
            tables.Target(
                id="tgt_more", project_id="prj", name="more", environment_id="env_production",
                runtime_type="k8s", cluster_id="cls", namespace="more", created_at=entries.shop.clock.now(),
            )
        )  # fmt: skip
    assert entries.request()["stage"] == "production"


def test_nobody_decides_in_time(shop: Installation) -> None:
    add_cluster(shop, "production")
    entries = Entries(shop)
    waiting = entries.start(entries.preview())
    shop.clock.pass_(hours=1)
    assert approvals.expire_due(shop.core) == 1
    ended = entries.task(waiting)
    assert (ended["state"], ended["status"]) == ("cancelled", "expired")
    assert entries.names(ended)[-1] == "expired"


@pytest.mark.parametrize(
    ("wrong", "key"),
    [
        ({"backend_nodes": ["cp-a"]}, "backend_nodes_invalid"),
        ({"backend_nodes": ["cp-a", "nobody"]}, "backend_nodes_invalid"),
        ({"directors": ["nobody"]}, "backend_nodes_invalid"),
        ({"vip_address": "192.0.2.11/24"}, "vip_conflict"),
        ({"auth_pass": "longer-than-8"}, "validation_error"),
        ({"interface": "eth0 {"}, "validation_error"),
        ({"virtual_router_id": 0}, "validation_error"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_asked(
    entries: Entries, wrong: dict[str, Any], key: str
) -> None:
    with refused(key) as problem:
        entries.request(lvs_vip={**LVS_VIP, **wrong})
    assert "longer-than-8" not in str(problem.value.document())
    assert entries.shop.claim() is None


def test_a_blocking_check_gives_no_reference(entries: Entries) -> None:
    check = {"level": "blocking", "code": "vip_conflict", "message": "it answers", "hint": "", "host": "cp-a"}
    task = entries.preview((check,))
    assert (task["preview_ref"], task["status"]) == (None, "preview_failed")
    with refused("preview_required"):
        entries.start(task)
    assert entries.names(task) == ["preview_failed"]


@pytest.mark.parametrize("moved", ["address", "task", "kind", "cluster"])
def test_what_moved_since_refuses(entries: Entries, moved: str) -> None:
    task = entries.preview()
    cluster, kind = "cls", "apply"
    if moved == "address":
        hosts.update(entries.shop.core, operator(entries.shop), "hst_cp-b", {"address": "192.0.2.99"})
    elif moved == "task":
        entries.shop.clock.pass_(seconds=1)
        entries.applied()
    elif moved == "kind":
        kind = "failover_test"
    else:
        add_cluster(entries.shop, "development", "cls2")
        cluster = "cls2"
    key = "preview_stale" if moved in ("address", "task") else "preview_mismatch"
    with refused(key):
        tasks.apply(entries.shop.core, operator(entries.shop), SUBJECT, cluster, task["preview_ref"], kind)


def failed(entries: Entries) -> dict[str, Any]:
    """Apply so that the third try of a step fails, too."""
    task = entries.preview()
    entries.start(task)
    kind, _run = entries.work("network_entry")
    tries = [
        step("activate", "failed", f"2026-01-01T12:00:0{number}Z", error_key="vip_unreachable")
        for number in range(3)
    ]
    kind.record([begun("network_entry_prepare"), told(step("preflight", "unchanged"), step("install"))])
    kind.record([told(*tries, failed=True, error_key="vip_unreachable", msg="no", failure_domain="health")])
    kind.end(RunOutcome("failed", 2, {}))
    entries.shop.clock.pass_(seconds=1)
    return entries.task(task)


def test_three_tries_fail_and_it_is_gone_on_with(entries: Entries) -> None:
    task = failed(entries)
    assert (task["state"], task["diagnostics_json"]["error_key"]) == ("failed", "vip_unreachable")
    row = next(one for one in task["steps"] if one["step"] == "activate")
    assert (row["status"], row["attempt"]) == ("failed", 3)
    assert entries.names(task).count("step_failed") == 3 and entries.names(task)[-1] == "failed"
    shown = entries.show()
    assert (shown["status"], shown["problems"][0]["code"]) == ("failed", "vip_unreachable")
    assert clusters.get(entries.shop.core, operator(entries.shop), "cls")["status"] == "ready"
    entries.shop.clock.pass_(minutes=5)
    assert network_entry_check.look_where_due(entries.shop.core) == 0, "what was never applied is not checked"

    tasks.retry(entries.shop.core, operator(entries.shop), SUBJECT, task["task_id"], "cls")
    kind, run = entries.work("network_entry")
    assert run.documents["network_entry_spec_file"]["task_id"] == task["task_id"]
    kind.record([told(step("activate", at="2026-01-01T12:00:09Z"))])
    kind.end(RunOutcome("successful", 0, found(run, "verify")))
    done = entries.task(task)
    row = next(one for one in done["steps"] if one["step"] == "activate")
    assert (done["state"], row["status"], row["attempt"]) == ("succeeded", "succeeded", 4)
    assert entries.show()["status"] == "ready"


def test_a_lost_worker_s_task_is_taken_up_or_ends(entries: Entries) -> None:
    task = entries.preview()
    entries.start(task)
    entries.work("network_entry")
    for _ in range(2):
        entries.shop.clock.pass_(minutes=5)
        entries.work("network_entry")
    entries.shop.clock.pass_(minutes=5)
    assert expiry.end_abandoned(entries.shop.core) == 1
    lost = entries.task(task)
    assert (lost["state"], lost["diagnostics_json"]["failure_domain"]) == ("failed", "lost")
    assert entries.show()["status"] == "failed"


def rolled_back(entries: Entries, *removed: bool, **asked: Any) -> tuple[dict[str, Any], PlaybookRun]:
    task = entries.preview(kind="rollback", **asked)
    assert task["preview_ref"], task["preview"]["checks"]
    entries.start(task)
    entries.shop.clock.pass_(seconds=1)
    kind, run = entries.work("network_entry")
    results = {
        f"{host.name}.rollback": {"live": {"removed": gone}}
        for host, gone in zip(run.hosts, removed, strict=True)
    }
    kind.end(RunOutcome("successful", 0, results))
    entries.shop.clock.pass_(seconds=1)
    return entries.task(task), run


def test_a_rollback_goes_back_to_the_entry_before_and_then_to_none(entries: Entries) -> None:
    with refused("not_found"):
        entries.request(kind="rollback")
    first = entries.applied()
    second = entries.applied(lvs_vip={**LVS_VIP, "virtual_router_id": 52})
    assert entries.show()["previous_task_id"] == first["task_id"]
    task, run = rolled_back(entries, False, False, False)
    assert (task["undoes"], entries.task(second)["state"]) == (second["task_id"], "rolled_back")
    assert run.documents["network_entry_spec_file"]["undo"] == second["task_id"]
    assert run.extra_vars == {"network_entry_remove": False}
    assert entries.names(task)[-1] == "rolled_back"
    shown = entries.show()
    assert (shown["status"], shown["task_id"], shown["lvs_vip"]["virtual_router_id"]) == (
        "unknown",
        first["task_id"],
        51,
    )
    kind, run = entries.work("network_entry_check")
    kind.end(RunOutcome("successful", 0, found(run)))
    assert entries.show()["status"] == "ready"
    rolled_back(entries, True, True, True)
    assert entries.show()["mode"] == "none"
    assert entries.task(first)["state"] == "rolled_back"


def test_a_removal_takes_everything_back(entries: Entries) -> None:
    made = [entries.applied(), entries.applied(lvs_vip={**LVS_VIP, "nopreempt": True})]
    _task, run = rolled_back(entries, True, True, True, remove=True)
    assert run.extra_vars == {"network_entry_remove": True}
    assert entries.show()["mode"] == "none"
    assert [entries.task(one)["state"] for one in made] == ["rolled_back", "rolled_back"]


def test_a_failed_apply_can_be_taken_back_also_against_checks(entries: Entries) -> None:
    failed(entries)
    check = {"level": "blocking", "code": "vip_conflict", "message": "it answers", "hint": "", "host": "cp-a"}
    task = entries.preview((check,), kind="rollback")
    assert task["preview_ref"] and task["preview"]["risk_level"] != "low"


def test_a_host_is_not_left_behind(entries: Entries) -> None:
    entries.applied()
    with refused("conflict"):
        entries.request(lvs_vip={**LVS_VIP, "backend_nodes": list(NAMES[:2])})
    with refused("resource_in_use"):
        hosts.delete(entries.shop.core, operator(entries.shop), "hst_cp-c")


def test_a_failover_is_measured(entries: Entries) -> None:
    with refused("not_found"):
        entries.request(kind="failover_test")
    entries.applied()
    task = entries.preview(kind="failover_test")
    assert task["preview"]["risk_reasons"] == ["what serves would be interrupted for some seconds"]
    entries.start(task)
    kind, run = entries.work("network_entry")
    assert run.playbook == "network_entry_failover_test.yml"
    kind.end(RunOutcome("successful", 0, found(run, "failover")))
    page = tasks.timeline_of(entries.shop.core, operator(entries.shop), SUBJECT, task["task_id"], "cls")
    last = page["items"][-1]
    assert last["action"] == "network_entry.failover_observed"
    assert (last["detail"]["outage_ms"], last["detail"]["to"]) == (3400, "cp-b")
    assert entries.show()["last_failover"]["outage_ms"] == 3400


@pytest.mark.parametrize("ill", ["failed", "alone"])
def test_no_failover_is_tried_where_nobody_would_take_over(entries: Entries, ill: str) -> None:
    only = {"directors": ["cp-a"]} if ill == "alone" else {}
    entries.applied(lvs_vip={**LVS_VIP, **only})
    task = entries.request(kind="failover_test")
    kind, run = entries.work("network_entry_preview")
    entry = {"status": "failed", "active_node": None} if ill == "failed" else {}
    kind.end(RunOutcome("successful", 0, found(run, **entry)))
    shown = tasks.await_preview(entries.shop.core, operator(entries.shop), SUBJECT, task["task_id"], 0)
    assert (shown["preview_ref"], shown["status"]) == (None, "preview_failed")


def test_checks_keep_what_is_told_true(entries: Entries) -> None:
    entries.applied()
    dead = {"level": "warning", "reason": "backend_dead", "host": "cp-b", "message": "", "code": "x"}
    entries.checked(status="degraded", problems=[dead])
    entries.checked(status="degraded", problems=[dead])
    entries.checked(active_node="cp-b")
    actions = [one["action"].removeprefix("network_entry.") for one in entries.told_of_cluster()]
    assert actions == ["degraded", "failover_observed", "recovered"]
    shown = entries.show()
    assert (shown["status"], shown["active_node"]) == ("ready", "cp-b")
    assert shown["last_failover"]["seen_by"] == "check"
    entries.checked(run_outcome=RunOutcome("error", 4, {}, "no Ansible"))
    assert (entries.show()["status"], entries.show()["problems"][0]["message"]) == ("unknown", "no Ansible")
    with entries.shop.core.database.read() as session:
        kept = [job for job in session.query(tables.Job) if job.kind == "network_entry_check"]
    assert len(kept) == 2, "old checks are forgotten"


def test_a_check_of_what_is_being_changed_writes_nothing(entries: Entries) -> None:
    entries.applied()
    entries.shop.clock.pass_(minutes=2)
    assert network_entry_check.look_where_due(entries.shop.core) == 1
    check, run = entries.work("network_entry_check")
    entries.start(entries.preview(lvs_vip={**LVS_VIP, "nopreempt": True}))
    entries.work("network_entry")
    check.end(RunOutcome("successful", 0, found(run, status="failed", active_node=None)))
    assert entries.show()["status"] == "applying"


def test_it_is_cancelled_before_it_runs(entries: Entries) -> None:
    task = entries.preview()
    entries.start(task)
    cancelled = tasks.cancel(entries.shop.core, operator(entries.shop), SUBJECT, task["task_id"], "cls")
    assert (cancelled["state"], entries.names(task)[-1]) == ("cancelled", "cancelled")
    assert entries.shop.claim() is None and entries.show()["mode"] == "none"


def test_two_tasks_of_a_cluster_are_never_at_work(entries: Entries) -> None:
    first, second = entries.preview(), entries.preview()
    entries.start(first)
    with refused("conflict"):
        entries.start(second)
    lease = entries.shop.claim()
    assert lease is not None
    with entries.shop.core.database.read() as session:
        assert session.get_one(tables.Job, lease.job_id).resources == [f"host:hst_{name}" for name in NAMES]


def test_it_needs_the_permission_and_stays_in_its_scope(entries: Entries) -> None:
    task = entries.applied()
    core = entries.shop.core
    for actor, key in ((entries.shop.releaser, "permission_denied"),
                       (entries.shop.actor("stranger", "operator", "other"), "cluster_not_found")):  # fmt: skip
        with refused(key):
            network_entries.request_preview(core, actor, "cls", {"lvs_vip": LVS_VIP})
    stranger = entries.shop.actor("stranger", "operator", "other")
    with refused("cluster_not_found"):
        network_entries.show(core, stranger, "cls")
    with refused("not_found"):
        tasks.retry(core, stranger, SUBJECT, task["task_id"], "cls")
    with refused("permission_denied"):
        tasks.cancel(core, entries.shop.releaser, SUBJECT, task["task_id"], "cls")


def test_a_cluster_is_forgotten_only_without_its_entry(entries: Entries) -> None:
    entries.applied()
    preview = entries.preview(kind="rollback")
    with entries.shop.core.database.write() as session:
        session.delete(session.get_one(tables.Target, "tgt_cls"))
    with refused("resource_in_use"):
        clusters.delete(entries.shop.core, operator(entries.shop), "cls")
    entries.start(preview)
    kind, run = entries.work("network_entry")
    gone = {f"{host.name}.rollback": {"live": {"removed": True}} for host in run.hosts}
    kind.end(RunOutcome("successful", 0, gone))
    waiting = entries.preview()
    with refused("resource_in_use"):
        clusters.delete(entries.shop.core, operator(entries.shop), "cls")
    tasks.cancel(entries.shop.core, operator(entries.shop), SUBJECT, waiting["task_id"], "cls")
    clusters.delete(entries.shop.core, operator(entries.shop), "cls")
    with refused("cluster_not_found"):
        entries.show()
