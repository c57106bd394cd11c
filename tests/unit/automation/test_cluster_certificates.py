# SPDX-License-Identifier: Apache-2.0
"""The certificates of a control plane: listed, renewed with all that uses them, and as before where that fails."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.environment import (
    certificate_checks,
    certificate_rotation,
    certificate_set,
    host_lock,
    static_pods,
)
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError

from tests.lab.kube_certificates import Authority
from tests.unit.automation import control_plane
from tests.unit.automation.control_plane import ControlPlane


@pytest.fixture
def plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ControlPlane:
    return control_plane.make(tmp_path, monkeypatch)


def rotate(operation: str = "task 1", **more: Any) -> tuple[dict[str, Any], dict[str, str]]:
    steps: list[dict[str, Any]] = []
    done = certificate_rotation.rotate({"operation": operation, **more}, steps)
    return done, {one["step"]: one["status"] for one in steps}


def refused(error_key: str, **more: Any) -> str:
    with pytest.raises(ReleaseError) as caught:
        rotate(**more)
    assert caught.value.error_key == error_key
    return str(caught.value)


def test_each_is_listed_with_its_end(plane: ControlPlane) -> None:
    rows = plane.rows()
    assert {name for name, row in rows.items() if row["kind"] == "certificate"} == {
        "apiserver", "apiserver-kubelet-client", "apiserver-etcd-client", "front-proxy-client", "etcd-server",
        "etcd-peer", "etcd-healthcheck-client", "admin.conf", "controller-manager.conf", "scheduler.conf",
    }  # fmt: skip
    assert {name for name, row in rows.items() if row["kind"] == "authority"} == {
        "ca", "etcd-ca", "front-proxy-ca",
    }  # fmt: skip
    assert rows["apiserver"]["subject"] == "CN=kube-apiserver"
    assert rows["apiserver"]["names"] == ["192.0.2.10", "plane-1"]
    assert rows["admin.conf"]["subject"] == "O=kubeadm:cluster-admins, CN=kubernetes-admin"
    assert rows["etcd-peer"]["authority"] == "etcd-ca" and rows["etcd-peer"]["issuer"] == "CN=etcd/ca"
    assert rows["kubelet-client"]["managed_by"] == "kubelet"
    assert certificate_set.node_name(list(rows.values())) == "plane-1"
    for row in rows.values():
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row["expires_at"])
        assert row["days_left"] in (364, 729) and row["error"] is None


def test_one_that_has_ended_or_cannot_be_read_is_told_as_such(plane: ControlPlane) -> None:
    plane.put("apiserver", plane.authorities["ca"].issue("kube-apiserver", valid=timedelta(hours=-30)))
    (plane.etc / "pki/front-proxy-client.crt").write_text("no certificate")
    (plane.etc / "scheduler.conf").write_text("users: []")
    rows = plane.rows()
    assert rows["apiserver"]["days_left"] == -2
    assert "no certificate" in rows["front-proxy-client"]["error"]
    assert "no client certificate" in rows["scheduler.conf"]["error"]


def test_all_are_new_and_each_pod_starts_after_the_one_before(plane: ControlPlane) -> None:
    before = plane.serials()
    done, steps = rotate()
    assert done["changed"] is True
    after = plane.serials()
    assert set(before) == set(after) and all(before[name] != after[name] for name in before)
    assert plane.restarts == ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"]
    assert steps == {
        "preflight": "unchanged", "renew": "succeeded", "etcd": "succeeded", "kube-apiserver": "succeeded",
        "kube-controller-manager": "succeeded", "kube-scheduler": "succeeded", "verify": "unchanged",
    }  # fmt: skip
    assert done["kubeconfig"] == (plane.etc / "admin.conf").read_text()
    assert not (plane.root / "state/certificates/kept").exists(), "old keys are of no use to anybody"


def test_what_is_done_is_not_done_again_by_the_same_task(plane: ControlPlane) -> None:
    rotate()
    serials = plane.serials()
    plane.restarts.clear()
    done, steps = rotate()
    assert (done["changed"], steps, plane.restarts) == (False, {"preflight": "unchanged"}, [])
    assert plane.serials() == serials and done["kubeconfig"]
    assert rotate("task 2")[0]["changed"] is True, "another task is another rotation"


@pytest.mark.parametrize("name", static_pods.NAMES)
def test_a_pod_that_does_not_come_back_brings_back_what_was(plane: ControlPlane, name: str) -> None:
    before = {path: path.read_bytes() for path in map(Path, certificate_set.renewed_files())}
    # It is well with the certificates from before, and with no others.
    plane.ill[name] = {plane.serials()["apiserver"]}
    said = refused("timeout")
    assert name in said and "those from before again" in said
    assert {path: path.read_bytes() for path in before} == before
    assert set(plane.begun) == set(static_pods.NAMES), "every pod runs"
    assert plane.restarts[-1] == static_pods.NAMES[-1]
    plane.ill.clear()
    assert rotate()[0]["changed"] is True


def test_what_does_not_come_back_at_all_is_kept_and_said(plane: ControlPlane) -> None:
    plane.ill["etcd"] = set()
    assert "does not come back" in refused("timeout")
    assert (plane.root / "state/certificates/kept").is_dir()


def test_kubeadm_that_fails_half_way_leaves_what_was(plane: ControlPlane) -> None:
    before = plane.serials()
    plane.kubeadm = 1
    assert "no space left" in refused("certificate_invalid")
    assert plane.serials() == before


def state() -> certificate_rotation._State:
    return certificate_rotation._State(certificate_set.serials(certificate_set.read(), "authority"))


def cut_before_kubeadm(plane: ControlPlane) -> None:
    return None


def cut_in_kubeadm(plane: ControlPlane) -> None:
    plane.put("apiserver", plane.authorities["ca"].issue("kube-apiserver"))


def cut_after_kubeadm(plane: ControlPlane) -> None:
    plane.issue()


def cut_while_a_pod_is_away(plane: ControlPlane) -> None:
    plane.issue()
    (plane.etc / "tidegate-away").mkdir()
    Path(static_pods.manifest("kube-apiserver")).rename(plane.etc / "tidegate-away/kube-apiserver.yaml")


@pytest.mark.parametrize(
    "cut", [cut_before_kubeadm, cut_in_kubeadm, cut_after_kubeadm, cut_while_a_pod_is_away]
)
@pytest.mark.parametrize("operation", ["task 1", "task 2"])
def test_one_that_was_cut_off_is_gone_on_with(
    plane: ControlPlane, cut: Callable[[ControlPlane], None], operation: str
) -> None:
    before = plane.serials()
    state().keep("task 1", certificate_set.renewed_files())
    cut(plane)
    assert certificate_set.is_there()
    done, _steps = rotate(operation)
    after = plane.serials()
    assert done["changed"] and all(before[name] != after[name] for name in before)
    assert set(plane.begun) == set(static_pods.NAMES)
    assert set(plane.restarts) == set(static_pods.NAMES)
    is_made = cut in (cut_after_kubeadm, cut_while_a_pod_is_away)
    assert plane.kubeadm_runs == (0 if is_made else 1)


def test_what_is_kept_is_what_was_before_the_first_of_two(plane: ControlPlane) -> None:
    before = plane.serials()
    state().keep("task 1", certificate_set.renewed_files())
    cut_in_kubeadm(plane)
    plane.kubeadm = 1
    refused("certificate_invalid", operation="task 2")
    assert plane.serials() == before


def test_what_is_kept_of_a_cluster_that_was_here_before_is_not_put_into_this_one(plane: ControlPlane) -> None:
    state().keep("task 1", certificate_set.renewed_files())
    plane.authorities["ca"] = Authority("ca")
    plane.put("ca", plane.authorities["ca"].pair)
    plane.issue()
    before = plane.serials()
    plane.kubeadm = 1
    refused("certificate_invalid", operation="task 2")
    assert plane.serials() == before


def test_others_than_were_previewed_are_left_alone(plane: ControlPlane) -> None:
    seen = certificate_set.fingerprint(certificate_set.read())
    own = plane.authorities["ca"].issue("system:node:plane-1")
    (plane.root / "kubelet/kubelet-client-current.pem").write_text(own.certificate)
    assert certificate_set.fingerprint(certificate_set.read()) == seen, "the kubelet's are its own"
    plane.issue()
    before = plane.serials()
    refused("preview_stale", expected=seen)
    assert plane.serials() == before and plane.restarts == []
    now = certificate_set.fingerprint(certificate_set.read())
    assert rotate(expected=now)[0]["changed"] is True
    assert rotate(expected=now)[0]["changed"] is False, "its own work is no reason to refuse it"


@pytest.mark.parametrize(("days", "is_needed"), [(364, False), (365, True)])
def test_whether_it_is_needed_is_said(plane: ControlPlane, days: int, is_needed: bool) -> None:
    checks = certificate_checks.judge(certificate_set.read(), days)
    assert [one["reason"] for one in checks] == ([] if is_needed else ["not_needed"])
    assert all(one["level"] == "warning" for one in checks)


def test_what_stands_against_it_is_said(plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    (plane.etc / "pki/etcd/ca.key").unlink()
    (plane.etc / "pki/apiserver.crt").write_text("no certificate")
    monkeypatch.setattr(certificate_checks, "has_program", lambda name: name != "kubeadm")
    checks = certificate_checks.judge(certificate_set.read(), 365)
    assert [(one["level"], one["reason"]) for one in checks] == [
        ("blocking", "unreadable"), ("blocking", "external"), ("blocking", "program_missing"),
    ]  # fmt: skip
    assert "etcd-server" in checks[1]["message"]


def test_the_plan_names_what_is_renewed_restarted_and_kept(plane: ControlPlane) -> None:
    plan = {one["step"]: one["action"] for one in certificate_checks.plan(certificate_set.read())}
    assert plan["admin.conf"] == plan["etcd-server"] == "renew"
    assert plan["etcd"] == plan["kube-scheduler"] == "restart"
    assert plan["ca"] == plan["kubelet-client"] == "keep"


def kept(plane: ControlPlane) -> dict[str, str]:
    return {one["step"]: one["detail"] for one in certificate_checks.plan(list(plane.rows().values()))}


def test_who_renews_the_kubelet_s_own_is_what_its_configuration_says(plane: ControlPlane) -> None:
    folder = plane.root / "kubelet"
    (folder / "kubelet.crt").write_text(Authority("plane-1-ca@1").issue("plane-1@1").certificate)
    rows = plane.rows()
    assert (rows["kubelet-client"]["managed_by"], rows["kubelet-server"]["managed_by"]) == (
        "kubelet",
        "nobody",
    )
    assert kept(plane)["kubelet-client"] == "the kubelet renews it by itself"
    assert "signed it itself" in kept(plane)["kubelet-server"]

    soon = plane.authorities["ca"].issue("system:node:plane-1", ["system:nodes"], valid=timedelta(days=20))
    (folder / "kubelet-client-current.pem").write_text(soon.certificate)
    checks = certificate_checks.judge(list(plane.rows().values()), 365)
    assert checks == [], "it has begun to by itself before the last 7 days"
    (folder / "config.yaml").write_text("kind: KubeletConfiguration\nrotateCertificates: false\n")
    assert plane.rows()["kubelet-client"]["managed_by"] == "nobody"
    assert "rotateCertificates is not true" in kept(plane)["kubelet-client"]
    [check] = certificate_checks.judge(list(plane.rows().values()), 365)
    assert (check["level"], check["reason"]) == ("warning", "kubelet")
    assert "nobody renews it" in check["message"] and "rotateCertificates" in check["hint"]

    (folder / "kubelet-server-current.pem").write_text(soon.certificate)
    server = plane.rows()["kubelet-server"]
    assert (server["managed_by"], server["authority"]) == ("kubelet", "ca")


def test_the_credential_for_an_etcd_elsewhere_is_listed_and_kept(plane: ControlPlane) -> None:
    elsewhere = Authority("etcd elsewhere")
    for name, pem in (
        ("ca", elsewhere.pair.certificate),
        ("certificate", elsewhere.issue("api", valid=timedelta(days=5)).certificate),
    ):
        (plane.root / "external-etcd").mkdir(exist_ok=True)
        (plane.root / "external-etcd" / name).write_text(pem)
    row = plane.rows()["external-etcd-client"]
    assert (row["kind"], row["managed_by"], row["issuer"]) == ("external", "external", "CN=etcd elsewhere")
    assert "etcd_certificate" in kept(plane)["external-etcd-client"]
    [check] = certificate_checks.judge(list(plane.rows().values()), 365)
    assert (check["level"], check["reason"]) == ("warning", "external")
    before = (plane.root / "external-etcd/certificate").read_text()
    assert rotate()[0]["changed"] is True
    assert (plane.root / "external-etcd/certificate").read_text() == before


def test_an_external_etcd_is_not_asked_for(plane: ControlPlane) -> None:
    Path(static_pods.manifest("etcd")).unlink()
    for name in ("server", "peer", "healthcheck-client", "ca"):
        (plane.etc / f"pki/etcd/{name}.crt").unlink()
    done, steps = rotate()
    assert done["changed"] and "etcd" not in steps
    assert plane.restarts == ["kube-apiserver", "kube-controller-manager", "kube-scheduler"]


def test_where_each_pod_is_asked_is_read_from_its_manifest(plane: ControlPlane) -> None:
    Path(static_pods.manifest("kube-apiserver")).write_text(
        "    - --advertise-address=192.0.2.10\n    - --secure-port=7443\n"
    )
    Path(static_pods.manifest("etcd")).write_text("    - --listen-metrics-urls=http://127.0.0.1:9381\n")
    Path(static_pods.manifest("kube-scheduler")).write_text("    - --bind-address=0.0.0.0\n")
    assert static_pods.place("kube-apiserver") == static_pods.Place("192.0.2.10", 7443, "/readyz", True)
    assert static_pods.place("etcd") == static_pods.Place("127.0.0.1", 9381, "/health", False)
    assert static_pods.place("kube-scheduler") == static_pods.Place("127.0.0.1", 10259, "/healthz", True)


def test_a_run_waits_for_the_one_before_of_the_same_task_and_for_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_lock, "path", lambda: str(tmp_path / "environment.lock"))
    ended: list[str] = []
    first = host_lock.held("task 1", 5)
    first.__enter__()

    def wait(_seconds: float) -> None:
        ended.append("first")
        first.__exit__(None, None, None)

    monkeypatch.setattr(host_lock.time, "sleep", wait)
    with host_lock.held_to_the_end("task 1", 6, 60):
        assert ended == ["first"]
        with pytest.raises(ReleaseError, match="task 1"), host_lock.held_to_the_end("task 2", 7, 60):
            pass
    with pytest.raises(ZeroDivisionError), host_lock.held_to_the_end("task 1", 8, 60):
        raise ZeroDivisionError
    assert host_lock.other("task 2") == "", "its claim ended with it"
