# SPDX-License-Identifier: Apache-2.0
"""The life of a rotation of certificates, as the services tell it; and what becomes of a cluster that is taken away."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from controlplane.adapters import cluster_credential
from controlplane.domain.cluster import Ability, Connection
from controlplane.domain.errors import Problem
from controlplane.ports.cluster_probe import Examined, Reached
from controlplane.ports.runner import PlaybookRun, RunOutcome
from controlplane.services import (
    approvals,
    cert_rotations,
    cluster_certificates,
    cluster_connection,
    clusters,
    environments,
    expiry,
    installs,
    run_place,
    tasks,
    timeline,
)
from controlplane.services.job_kind import JobKind
from controlplane.services.job_kinds import KINDS
from controlplane.services.jobs import LeaseLost
from controlplane.store import tables
from tests.lab.kube_certificates import Authority, Pair
from tests.services import test_installs
from tests.services.installation import Installation
from tests.services.test_network_entries import begun, operator, refused, step, told
from tests.services.test_post_tasks import NAMES, site

SUBJECT = cert_rotations.SUBJECT
ENDPOINT = "https://192.0.2.10:6443"


class FakeProbe:
    """A cluster that answers whoever asks, unless `fault` says otherwise; `asked` are the keys of who did."""

    def __init__(self, shop: Installation) -> None:
        self._shop = shop
        self.fault: Problem | None = None
        self.denied: set[str] = set()
        self.asked: list[Connection] = []

    def examine(self, connection: Connection) -> Examined:
        return Examined(connection, self._shop.clock.now() + timedelta(days=365))

    def subject(self, connection: Connection) -> str | None:
        return cluster_credential.subject(connection)

    def reach(self, connection: Connection, timeout: float = 15.0) -> Reached:
        self.asked.append(connection)
        if self.fault is not None:
            raise self.fault
        return Reached("v1.36.0", 1.5, self._shop.clock.now() + timedelta(days=365))

    def abilities(
        self, connection: Connection, namespace: str | None, wanted: Sequence[Ability], timeout: float = 15.0
    ) -> dict[Ability, bool]:
        return dict.fromkeys(wanted, namespace not in self.denied)

    def has_namespace(self, connection: Connection, namespace: str, timeout: float = 15.0) -> bool:
        return True


@dataclass
class Rotations:
    """A cluster of three control planes with a target on it, and what the playbooks would say of them."""

    shop: Installation
    probe: FakeProbe
    env: str
    days: float = 20.5
    serial: str = "A1"
    cluster: str = "cls"
    hosts: Sequence[str] = NAMES
    authority: Authority = field(default_factory=Authority)

    def admin(self, name: str = "kubernetes-admin") -> Pair:
        return self.authority.issue(name, ["kubeadm:cluster-admins"])

    def documents(self, hosts: Sequence[str] | None = None) -> dict[str, Any]:
        ends = self.shop.clock.now() + timedelta(days=self.days)
        rows = [
            {"name": "apiserver", "kind": "certificate", "path": "/a", "authority": "ca", "managed_by": "kubeadm",
             "subject": "CN=kube-apiserver", "issuer": "CN=kubernetes", "serial": self.serial, "names": [],
             "not_before": "2025-01-01T00:00:00Z", "expires_at": ends.strftime("%Y-%m-%dT%H:%M:%SZ"),
             "days_left": 999, "error": None},
            {"name": "kubelet-client", "kind": "kubelet", "path": "/k", "authority": "ca", "managed_by": "kubelet",
             "serial": "1", "expires_at": "2026-01-02T00:00:00Z", "days_left": 0, "error": None},
        ]  # fmt: skip
        check = {
            "level": "warning",
            "code": "not_needed",
            "reason": "not_needed",
            "message": "later",
            "hint": "",
        }
        return {
            f"{name}.certificates": {
                "host": name,
                "certificates": rows,
                "fingerprint": f"sha256:{self.serial}",
                "plan": [{"step": "apiserver", "action": "renew", "detail": ""}],
                "checks": [check] if self.days >= 30 else [],
            }
            for name in (self.hosts if hosts is None else hosts)
        }

    def preview(self, **asked: Any) -> dict[str, Any]:
        task = cert_rotations.request_preview(self.shop.core, operator(self.shop), self.cluster, asked)
        kind, run = self.work("cert_rotation_preview")
        assert run.playbook == "certificates_list.yml"
        kind.end(RunOutcome("successful", 0, self.documents()))
        return tasks.await_preview(self.shop.core, operator(self.shop), SUBJECT, task["task_id"], 0)

    def start(self, preview: dict[str, Any]) -> dict[str, Any]:
        actor = operator(self.shop)
        return tasks.apply(self.shop.core, actor, SUBJECT, self.cluster, preview["preview_ref"], "rotate")

    def work(self, kind: str) -> tuple[JobKind, PlaybookRun]:
        lease = self.shop.claim()
        assert lease is not None and lease.kind == kind, lease
        made = KINDS[kind](self.shop.core, lease)
        run = made.begin()
        assert run is not None and run.group == "environment_hosts"
        return made, run

    def applied(self, pair: Pair | None = None) -> dict[str, Any]:
        """Preview, apply, and let the hosts tell that they are done, with this new credential."""
        task = self.preview()
        self.start(task)
        self.shop.clock.pass_(seconds=1)
        kind, _run = self.work("cert_rotation")
        self.finish(kind, pair)
        self.shop.clock.pass_(seconds=1)
        return self.task(task)

    def finish(self, kind: JobKind, pair: Pair | None = None) -> None:
        self.serial, self.days = "B2", 365.5
        given = {"cp-a.cluster": {"kubeconfig": kubeconfig(pair or self.admin(), "https://127.0.0.1:6443")}}
        kind.record([begun("cluster_certificates"), told(step("preflight", "unchanged"), step("renew"))])
        kind.end(RunOutcome("successful", 0, {**self.documents(), **given}))

    def task(self, task: dict[str, Any]) -> dict[str, Any]:
        return tasks.get(self.shop.core, operator(self.shop), SUBJECT, task["task_id"], self.cluster)

    def names(self, task: dict[str, Any]) -> list[str]:
        page = tasks.timeline_of(self.shop.core, operator(self.shop), SUBJECT, task["task_id"], self.cluster)
        return [event["action"].removeprefix("cluster.cert_rotation_") for event in page["items"]]

    def kept(self) -> Connection:
        with self.shop.core.database.read() as session:
            return cluster_connection.opened(self.shop.core, session.get_one(tables.Cluster, self.cluster))

    def keep(self, connection: Connection) -> None:
        cipher = self.shop.core.vault.encrypt(json.dumps(connection.kubeconfig()).encode())
        with self.shop.core.database.write() as session:
            row = session.get_one(tables.Cluster, self.cluster)
            row.kubeconfig_cipher, row.credential_kind = cipher, connection.credential_kind

    def show(self) -> dict[str, Any]:
        return cluster_certificates.show(self.shop.core, operator(self.shop), self.cluster)

    def get(self) -> dict[str, Any]:
        return clusters.get(self.shop.core, operator(self.shop), self.cluster)

    def access(self) -> dict[str, Any]:
        with self.shop.core.database.read() as session:
            return dict(session.get_one(tables.Target, "tgt_development").cluster_access)


def kubeconfig(pair: Pair, server: str) -> str:
    connection = Connection(endpoint=server, ca=pair.certificate, certificate=pair.certificate, key=pair.key)
    return json.dumps(connection.kubeconfig())


def around(shop: Installation, env: str, **more: Any) -> Rotations:
    """Bring in a cluster as the one of an environment."""
    probe = FakeProbe(shop)
    own = dataclasses.replace(shop, core=dataclasses.replace(shop.core, cluster_probe=probe))  # type: ignore[arg-type]
    found = Rotations(own, probe, env, **more)
    with shop.core.database.write() as session:
        session.add(
            tables.Cluster(
                id=found.cluster, project_id="prj", name=f"made-{found.cluster}", mode="platform_managed",
                environment_id=env, endpoint=ENDPOINT, kubeconfig_cipher=b"-", credential_kind="certificate",
                created_by="usr", created_at=shop.clock.now(),
            )
        )  # fmt: skip
    pair = found.admin()
    found.keep(Connection(endpoint=ENDPOINT, ca=pair.certificate, certificate=pair.certificate, key=pair.key))
    return found


def made(shop: Installation, stage: str = "development") -> Rotations:
    found = around(shop, site(shop, stage))
    with shop.core.database.write() as session:
        target = session.get_one(tables.Target, "tgt_development")
        target.cluster_id, target.namespace, target.runtime_type = "cls", "shop", "k8s"
    return found


@pytest.fixture
def rotations(shop: Installation) -> Rotations:
    return made(shop)


def test_a_rotation_lets_tidegate_in_by_the_new_credential_where_it_was_before(rotations: Rotations) -> None:
    before, pair = rotations.kept(), rotations.admin()
    task = rotations.applied(pair)
    assert task["state"] == "succeeded", task["diagnostics_json"]
    assert rotations.names(task) == [
        "previewed", "requested", "approved", "started", "step_started", "step_succeeded", "step_succeeded",
        "succeeded",
    ]  # fmt: skip
    now = rotations.kept()
    assert (now.endpoint, now.ca) == (ENDPOINT, before.ca)
    assert now.certificate == pair.certificate and before.certificate != pair.certificate
    assert rotations.probe.asked[-1] == now
    assert rotations.get()["version"] == 2 and rotations.access()["ok"] is True
    shown = rotations.show()
    assert (shown["days_left"], shown["checked_at"]) == (365, "2026-01-01T12:00:01.000000Z")
    assert [one["host"] for one in shown["hosts"]] == list(NAMES)


def test_what_runs_is_what_was_previewed(rotations: Rotations) -> None:
    task = rotations.preview()
    rotations.start(task)
    _kind, run = rotations.work("cert_rotation")
    spec = run.documents["environment_spec_file"]
    assert run.playbook == "certificates_rotate.yml"
    assert [host.name for host in run.hosts] == list(NAMES)
    assert spec["expect"] == {"fingerprints": dict.fromkeys(NAMES, "sha256:A1")}
    assert (spec["task_id"], spec["certificates"]) == (task["task_id"], {"within_days": 30})
    assert spec["fencing_token"] > 0


@pytest.mark.parametrize(
    ("days", "within", "is_needed"), [(20.5, 30, True), (20.5, 20, False), (400.0, 30, False)]
)
def test_a_preview_says_whether_it_is_needed(
    rotations: Rotations, days: float, within: int, is_needed: bool
) -> None:
    rotations.days = days
    task = rotations.preview(within_days=within)
    assert task["preview"]["needed"] is is_needed
    assert task["preview_ref"], "one that is not needed can be applied all the same"
    assert task["preview"]["summary"] == {"renew": 3}
    assert rotations.show()["days_left"] == int(days), "what was seen is listed"
    rotations.shop.clock.pass_(days=days + 1)
    assert rotations.show()["days_left"] == -1, "and told anew each time"


def test_control_planes_that_are_not_reached_stand_against_it(rotations: Rotations) -> None:
    shop = rotations.shop
    task = cert_rotations.request_preview(shop.core, operator(shop), "cls", {})
    kind, _run = rotations.work("cert_rotation_preview")
    kind.end(RunOutcome("failed", 4, rotations.documents(NAMES[:2]), "cp-c does not answer"))
    shown = tasks.await_preview(shop.core, operator(shop), SUBJECT, task["task_id"], 0)
    assert (shown["preview_ref"], shown["status"]) == (None, "preview_failed")
    other = cert_rotations.request_preview(shop.core, operator(shop), "cls", {})
    kind, _run = rotations.work("cert_rotation_preview")
    kind.refuse("host_key_unconfirmed", "cp-c's key was not confirmed")
    refused_ = tasks.await_preview(shop.core, operator(shop), SUBJECT, other["task_id"], 0)["preview"]
    assert (refused_["needed"], refused_["checks"][0]["code"]) == (None, "host_key_unconfirmed")


def test_production_waits_for_somebody_else(shop: Installation) -> None:
    rotations = made(shop, "production")
    waiting = rotations.start(rotations.preview())
    assert (waiting["status"], waiting["approval_required"]) == ("pending_approval", True)
    assert shop.claim() is None
    with refused("self_approval_denied"):
        approvals.approve(shop.core, operator(shop), waiting["approval_ticket"])
    ticket = approvals.approve(shop.core, shop.approver, waiting["approval_ticket"])
    assert ticket["scope_type"] == "cert_rotation" and "cp-a, cp-b, cp-c" in ticket["summary"]
    assert ticket["cert_rotation_task"]["status"] == "queued"
    assert ticket["install_task"] is ticket["network_entry_task"] is ticket["release"] is None
    rotations.work("cert_rotation")


def test_a_target_to_which_nothing_can_be_released_now_is_named(rotations: Rotations) -> None:
    rotations.probe.denied = {"shop"}
    task = rotations.applied()
    assert task["state"] == "succeeded"
    assert rotations.access()["error_key"] == "cluster_permission_insufficient"


def test_a_cluster_that_does_not_answer_by_the_new_ones_fails_and_a_retry_goes_on(
    rotations: Rotations,
) -> None:
    before = rotations.kept()
    rotations.probe.fault = Problem("cluster_unreachable", "it does not answer")
    task = rotations.applied()
    assert (task["state"], task["diagnostics_json"]["error_key"]) == ("failed", "cluster_unreachable")
    assert "were rotated" in task["diagnostics_json"]["summary"]
    assert rotations.kept() == before and rotations.show()["checked_at"] is None
    rotations.probe.fault = None
    tasks.retry(rotations.shop.core, operator(rotations.shop), SUBJECT, task["task_id"], "cls")
    rotations.shop.clock.pass_(seconds=1)
    kind, run = rotations.work("cert_rotation")
    assert run.documents["environment_spec_file"]["task_id"] == task["task_id"], (
        "by which hosts know their own"
    )
    rotations.finish(kind)
    assert rotations.task(task)["state"] == "succeeded" and rotations.kept() != before


@pytest.mark.parametrize("login", ["token", "somebody"])
def test_another_login_that_somebody_chose_stays(rotations: Rotations, login: str) -> None:
    kept = rotations.kept()
    pair = rotations.admin("somebody")
    chosen = {"certificate": None, "key": None, "token": "word"}
    if login == "somebody":
        chosen = {"certificate": pair.certificate, "key": pair.key, "token": None}
    rotations.keep(dataclasses.replace(kept, **chosen))
    before = rotations.kept()
    assert rotations.applied()["state"] == "succeeded"
    assert rotations.kept() == before and rotations.access()["ok"] is True


@pytest.mark.parametrize(("times", "state"), [(1, "succeeded"), (3, "failed")])
def test_a_connection_that_is_changed_meanwhile_is_not_written_over(
    rotations: Rotations, times: int, state: str
) -> None:
    task = rotations.preview()
    rotations.start(task)
    kind, _run = rotations.work("cert_rotation")
    reach, left = rotations.probe.reach, [times]
    other = "https://192.0.2.240:6443"

    def change(*given: Any, **more: Any) -> Reached:
        if left[0]:
            left[0] -= 1
            rotations.keep(dataclasses.replace(rotations.kept(), endpoint=other))
            with rotations.shop.core.database.write() as session:
                session.get_one(tables.Cluster, "cls").version += 1
        return reach(*given, **more)

    rotations.probe.reach = change  # type: ignore[method-assign]
    rotations.finish(kind)
    assert rotations.task(task)["state"] == state
    assert rotations.kept().endpoint == other


def test_a_worker_that_was_lost_leaves_nothing_open(rotations: Rotations) -> None:
    shop, task = rotations.shop, rotations.preview()
    rotations.start(task)
    kind, _run = rotations.work("cert_rotation")
    kind.record([begun("cluster_certificates")])
    shop.clock.pass_(minutes=5)
    rotations.work("cert_rotation")
    with pytest.raises(LeaseLost):
        rotations.finish(kind)
    shop.clock.pass_(minutes=5)
    rotations.work("cert_rotation")
    shop.clock.pass_(minutes=5)
    assert expiry.end_abandoned(shop.core) == 1
    lost = rotations.task(task)
    assert (lost["state"], lost["diagnostics_json"]["failure_domain"]) == ("failed", "lost")
    assert [(one["status"], one["error_key"]) for one in lost["steps"]] == [("failed", "worker_lost")]


@pytest.mark.parametrize("moved", ["nodes", "rotation", "gone"])
def test_what_moved_since_refuses(rotations: Rotations, moved: str) -> None:
    shop, task = rotations.shop, rotations.preview()
    shop.clock.pass_(seconds=1)
    if moved == "nodes":
        nodes = [{"host_id": f"hst_{name}", "role": "control_plane"} for name in NAMES[:1]]
        environments.set_nodes(shop.core, operator(shop), rotations.env, nodes)
    elif moved == "rotation":
        rotations.applied()
    else:
        with shop.core.database.write() as session:
            session.get_one(tables.Cluster, "cls").status = "gone"
    with refused("preview_stale"):
        rotations.start(task)


def test_who_may_and_what_can(rotations: Rotations) -> None:
    shop = rotations.shop
    for actor, key in ((shop.releaser, "permission_denied"), (stranger(shop), "cluster_not_found")):
        with refused(key):
            cert_rotations.request_preview(shop.core, actor, "cls", {})
    with refused("cluster_not_found"):
        cluster_certificates.show(shop.core, stranger(shop), "cls")
    with shop.core.database.write() as session:
        session.get_one(tables.Cluster, "cls").environment_id = None
    for ask in (
        cluster_certificates.request_check,
        lambda *given: cert_rotations.request_preview(*given, {}),
    ):
        with refused("conflict"):
            ask(shop.core, operator(shop), "cls")
    assert rotations.show()["hosts"] == []


def stranger(shop: Installation) -> Any:
    return shop.actor("stranger", "operator", project="other")


def test_a_look_is_taken_once_a_day_and_when_asked_for(rotations: Rotations) -> None:
    shop = rotations.shop
    assert cluster_certificates.look_where_due(shop.core) == 1, "one that was never seen"
    assert cluster_certificates.look_where_due(shop.core) == 0
    kind, run = rotations.work("cluster_certificates")
    assert run.playbook == "certificates_list.yml"
    kind.end(RunOutcome("failed", 4, rotations.documents(NAMES[:2]), "no answer"))
    shown = rotations.show()
    assert shown["days_left"] == 20 and [one["host"] for one in shown["problems"]] == ["cp-c"]
    assert [len(one["certificates"]) for one in shown["hosts"]] == [2, 2, 0]
    warned = timeline.of_all(
        shop.core, shop.actor("reader", "auditor"), {"action": "cluster.certificates_expiring"}
    )
    assert [one["detail"]["days_left"] for one in warned["items"]] == [20]
    cluster_certificates.request_check(shop.core, shop.actor("reader", "viewer"), "cls")
    kind, _run = rotations.work("cluster_certificates")
    rotations.days = 300
    kind.end(RunOutcome("successful", 0, rotations.documents()))
    assert rotations.show()["problems"] == [] and rotations.get()["certificates_expire_at"]
    shop.clock.pass_(days=1, seconds=1)
    assert cluster_certificates.look_where_due(shop.core) == 1


def rolled_back(rotations: Rotations, status: str = "successful") -> dict[str, Any]:
    """Install, and roll the install back, ending so."""
    shop, env = rotations.shop, rotations.env
    install = installs.request_preview(shop.core, operator(shop), env, {})
    ended(rotations, install, "install")
    shop.clock.pass_(seconds=1)
    back = installs.request_rollback(shop.core, operator(shop), env)
    ended(rotations, back, "rollback", status)
    return installs.get(shop.core, operator(shop), back["task_id"], env)


def ended(rotations: Rotations, task: dict[str, Any], verb: str, status: str = "successful") -> None:
    shop = rotations.shop
    kind, run = test_installs.work(shop, "install_preview")
    document = {"facts": {}, "plan": test_installs.PLAN, "checks": [], "fingerprint": shop.live}
    kind.end(RunOutcome("successful", 0, {f"{host.name}.preflight": document for host in run.hosts}))
    shown = installs.await_preview(shop.core, operator(shop), task["task_id"], 0)
    installs.apply(shop.core, operator(shop), rotations.env, shown["preview_ref"], verb)
    shop.clock.pass_(seconds=1)
    kind, _run = test_installs.work(shop, "install")
    told = {"cp-a.cluster": {"kubeconfig": kubeconfig(rotations.admin(), ENDPOINT)}}
    kind.end(RunOutcome(status, 0 if status == "successful" else 2, told if verb == "install" else {}))


def test_a_cluster_is_gone_with_its_environment_and_comes_back_with_it(rotations: Rotations) -> None:
    shop = rotations.shop
    assert rolled_back(rotations)["state"] == "succeeded"
    gone = rotations.get()
    assert (gone["status"], gone["last_check"]["reachable"]) == ("gone", False)
    assert "taken away" in gone["last_check"]["detail"]
    assert (rotations.access()["ok"], rotations.access()["error_key"]) == (False, "cluster_unreachable")
    rotations.probe.fault = Problem("cluster_unreachable", "it does not answer")
    with refused("cluster_unreachable"):
        clusters.test_connection(shop.core, operator(shop), "cls", None)
    assert rotations.get()["last_check"] == gone["last_check"], "why is known better than a test could tell"
    with refused("conflict"):
        cert_rotations.request_preview(shop.core, operator(shop), "cls", {})
    with shop.core.database.read() as session, refused("cluster_unreachable"):
        run_place.of_target(shop.core, session, session.get_one(tables.Target, "tgt_development"))
    assert cluster_certificates.look_where_due(shop.core) == 0
    told = timeline.of_all(shop.core, shop.actor("reader", "auditor"), {"action": "cluster.gone"})["items"]
    assert [one["detail"]["targets_failing"] for one in told] == [["development"]]

    rotations.probe.fault = None
    shop.clock.pass_(seconds=1)
    ended(rotations, installs.request_preview(shop.core, operator(shop), rotations.env, {}), "install")
    assert rotations.get()["status"] == "ready" and rotations.access()["ok"] is True


def test_a_rollback_that_failed_leaves_a_cluster_in_doubt_until_it_is_tested(rotations: Rotations) -> None:
    assert rolled_back(rotations, "failed")["state"] == "failed"
    doubted = rotations.get()
    assert doubted["status"] == "failed" and "not known" in doubted["last_check"]["detail"]
    clusters.test_connection(rotations.shop.core, operator(rotations.shop), "cls", None)
    assert rotations.get()["status"] == "ready"


def test_a_gone_cluster_is_deleted_with_its_rotations_and_not_while_one_is_at_work(
    rotations: Rotations,
) -> None:
    shop = rotations.shop
    rotations.applied()
    with shop.core.database.write() as session:
        target = session.get_one(tables.Target, "tgt_development")
        target.cluster_id = None
    waiting = rotations.preview()
    with refused("resource_in_use"):
        clusters.delete(shop.core, operator(shop), "cls")
    tasks.cancel(shop.core, operator(shop), SUBJECT, waiting["task_id"], "cls")
    clusters.delete(shop.core, operator(shop), "cls")
    with refused("cluster_not_found"):
        rotations.get()


@pytest.mark.parametrize(
    ("direct", "reasons"),
    [(None, ["what serves would be interrupted for some seconds"]), ("https://192.0.2.11:6443", [])],
    ids=["alone", "behind a VIP"],
)
def test_it_interrupts_what_asks_one_control_plane_alone(
    rotations: Rotations, direct: str | None, reasons: list[str]
) -> None:
    """There are three, and without a VIP everybody asks the first."""
    with rotations.shop.core.database.write() as session:
        session.get_one(tables.Cluster, rotations.cluster).direct_endpoint = direct
    assert rotations.preview()["preview"]["risk_reasons"] == reasons
