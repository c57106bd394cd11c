# SPDX-License-Identifier: Apache-2.0
"""The API servers' certificates: what they are made from, in which order, and what stays when it does not do."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.tidegate.deploy.plugins.module_utils.environment import static_pods
from ansible_collections.tidegate.deploy.plugins.module_utils.network_entry import (
    api_certificate,
    checks,
    host_command,
    host_facts,
    parameters,
    remembered,
)
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError
from ansible_collections.tidegate.deploy.plugins.plugin_utils import entry_certificate

from .documents import document

ROOT = Path(__file__).resolve().parents[4]
ROLES = ROOT / "collections/ansible_collections/tidegate/deploy"
VIP = "192.0.2.240"
CLUSTER = """
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
clusterName: kubernetes
controlPlaneEndpoint: api.example:6443
kubernetesVersion: v1.34.0
networking: {podSubnet: 10.244.0.0/16, serviceSubnet: 10.96.0.0/12}
apiServer:
  certSANs: [api.example]
  extraArgs: [{name: audit-log-path, value: /var/log/audit.log}]
"""


def rendered(configuration: str = CLUSTER, address: str = "192.0.2.11") -> list[dict[str, Any]]:
    text, _folder = entry_certificate.with_vip(configuration, VIP, "cp-a", address, 6443)
    return list(yaml.safe_load_all(text))


def test_the_vip_is_added_and_the_rest_stays() -> None:
    cluster, own = rendered()
    expected = yaml.safe_load(CLUSTER)
    expected["apiServer"]["certSANs"] = ["api.example", VIP]
    assert cluster == expected
    assert own["localAPIEndpoint"] == {"advertiseAddress": "192.0.2.11", "bindPort": 6443}
    assert own["nodeRegistration"] == {"name": "cp-a"}


def test_it_is_added_once_and_where_there_were_no_names() -> None:
    again, _folder = entry_certificate.with_vip(
        yaml.safe_dump(rendered()[0]), VIP, "cp-a", "192.0.2.11", 6443
    )
    assert next(iter(yaml.safe_load_all(again)))["apiServer"]["certSANs"] == ["api.example", VIP]
    bare = CLUSTER[: CLUSTER.index("apiServer:")]
    assert rendered(bare)[0]["apiServer"] == {"certSANs": [VIP]}


def test_whether_the_configuration_names_it_is_read() -> None:
    assert not entry_certificate.names_vip(CLUSTER, VIP)
    assert entry_certificate.names_vip(yaml.safe_dump(rendered()[0]), VIP)


def test_the_folder_is_the_cluster_s_own() -> None:
    assert entry_certificate.with_vip(CLUSTER, VIP, "a", "192.0.2.11", 6443)[1] == "/etc/kubernetes/pki"
    other = CLUSTER + "certificatesDir: /srv/pki\n"
    assert entry_certificate.with_vip(other, VIP, "a", "192.0.2.11", 6443)[1] == "/srv/pki"


@pytest.mark.parametrize("wrong", ["", "- a", "kind: Pod", "a: {"])
def test_what_is_no_configuration_is_refused(wrong: str) -> None:
    with pytest.raises(ReleaseError):
        entry_certificate.with_vip(wrong, VIP, "a", "192.0.2.11", 6443)


def test_one_control_plane_after_another_and_the_last_writes_it_into_the_cluster() -> None:
    (play,) = yaml.safe_load((ROLES / "playbooks/network_entry_certificate.yml").read_text())
    assert (play["serial"], play["any_errors_fatal"]) == (1, True)
    hosts = ["a", "b", "c"]
    assert [entry_certificate.is_last(host, hosts) for host in hosts] == [False, False, True]


def test_an_apply_too_takes_one_after_another_and_ends_with_the_first_that_fails() -> None:
    role = ROLES / "roles/network_entry/tasks"
    (task,) = yaml.safe_load((role / "certificate_of_one.yml").read_text())
    assert (task["when"], task["any_errors_fatal"]) == ("inventory_hostname == network_entry_plane", True)
    names = [
        next(one for one in task if "." in one) for task in yaml.safe_load((role / "main.yml").read_text())
    ]
    before, after = (f"tidegate.deploy.network_entry_{name}" for name in ("prepare", "activate"))
    assert names.index(before) < names.index("ansible.builtin.include_tasks") < names.index(after)


class ControlPlane:
    """A control plane whose programs are played: kubeadm writes certificates, the kubelet follows the manifest."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.did = folder, list[str]()
        self.new_names = {"api.example", "192.0.2.11", VIP}
        self.becomes_ready = True
        self.manifest = folder / "manifests" / "kube-apiserver.yaml"
        self.pki = folder / "pki"
        for path in (self.manifest, *(self.pki / name for name in api_certificate.FILES)):
            path.parent.mkdir(exist_ok=True)
            path.write_text("old")
        self.away = folder / "away" / "kube-apiserver.yaml"
        monkeypatch.setattr(static_pods, "FOLDER", str(self.manifest.parent))
        monkeypatch.setattr(static_pods, "_AWAY", str(self.away.parent))
        monkeypatch.setattr(static_pods, "PATIENCE_SECONDS", 0.0)
        monkeypatch.setattr(static_pods, "_pids", self._pids)
        monkeypatch.setattr(static_pods, "is_well", self._is_well)
        monkeypatch.setattr(api_certificate, "names", self._names)
        monkeypatch.setattr(host_facts, "certificate_fault", lambda *_asked: "")
        monkeypatch.setattr(host_command, "run", self._run)
        monkeypatch.setattr(remembered.state_folder, "path", lambda name: str(folder / "state" / name))

    def payload(self, **more: Any) -> dict[str, Any]:
        return {
            "vip": VIP, "address": "192.0.2.11", "port": 6443, "holder": "test", "folder": str(self.pki),
            "configuration": CLUSTER, "names_vip": False, "upload": False, "check_mode": False, **more,
        }  # fmt: skip

    @property
    def kept(self) -> Path:
        return self.folder / "state" / "network_entry" / "certificate"

    def certificate(self) -> str:
        return (self.pki / "apiserver.crt").read_text()

    def _names(self, path: str) -> set[str]:
        is_old = Path(path).read_text() == "old"
        return {"api.example", "192.0.2.11"} if is_old else self.new_names

    def _pids(self, name: str) -> list[int]:
        assert name == "kube-apiserver"
        if not self.manifest.exists():
            self.did.append("ended")
            return []
        return [1]

    def _is_well(self, _where: static_pods.Place) -> bool:
        self.did.append("ready?")
        return self.becomes_ready and self.manifest.exists()

    def _run(self, argv: list[str], *_more: Any, **_how: Any) -> host_command.Done:
        if argv[0] == "kubectl":
            self.did.append("read")
            return host_command.Done(0, CLUSTER)
        assert argv[0] == "kubeadm"
        self.did.append(" ".join(argv[2:4]))
        if argv[3] == "certs":
            assert not (self.pki / "apiserver.crt").exists(), "kubeadm makes nothing that is there"
            for name in api_certificate.FILES:
                (self.pki / name).write_text("new")
        return host_command.Done(0, "")


@pytest.fixture
def plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ControlPlane:
    return ControlPlane(tmp_path, monkeypatch)


def test_it_is_made_the_server_started_by_it_and_waited_for(plane: ControlPlane) -> None:
    steps: list[dict[str, Any]] = []
    assert api_certificate.renew(plane.payload(), steps) == {"changed": True}
    assert plane.did == ["phase certs", "ended", "ready?"]
    assert (plane.certificate(), plane.manifest.read_text()) == ("new", "old")
    assert [(one["step"], one["status"]) for one in steps] == [
        ("certificate", "succeeded"),
        ("upload", "unchanged"),
    ]
    assert not list((plane.folder / "state").rglob("*.yaml")), "the configuration does not stay"


def test_the_last_one_writes_the_configuration_into_the_cluster(plane: ControlPlane) -> None:
    api_certificate.renew(plane.payload(upload=True), [])
    assert plane.did == ["phase certs", "ended", "ready?", "phase upload-config"]


def test_one_that_names_the_vip_is_left_alone(plane: ControlPlane) -> None:
    assert api_certificate.renew(plane.payload(names_vip=True), []) == {"changed": False}
    assert (plane.did, plane.certificate()) == ([], "old")


def test_check_mode_changes_nothing(plane: ControlPlane) -> None:
    assert api_certificate.renew(plane.payload(check_mode=True), []) == {"changed": True}
    assert (plane.did, plane.certificate()) == ([], "old")


def _loses_a_name(plane: ControlPlane) -> None:
    plane.new_names = {VIP, "192.0.2.11"}


def _never_ready(plane: ControlPlane) -> None:
    plane.becomes_ready = False


@pytest.mark.parametrize("spoil", [_loses_a_name, _never_ready])
def test_one_that_does_not_do_is_taken_back(
    plane: ControlPlane, spoil: Callable[[ControlPlane], None]
) -> None:
    spoil(plane)
    steps: list[dict[str, Any]] = []
    with pytest.raises(ReleaseError):
        api_certificate.renew(plane.payload(upload=True), steps)
    assert (plane.certificate(), plane.manifest.read_text()) == ("old", "old")
    assert "phase upload-config" not in plane.did
    assert steps[-1]["status"] == "failed"


def _cut_off(plane: ControlPlane) -> None:
    """As a run leaves it that was killed after kubeadm was to make what it had taken away."""
    plane.kept.mkdir(parents=True)
    for name in api_certificate.FILES:
        (plane.pki / name).rename(plane.kept / name)


def test_a_run_that_was_cut_off_is_gone_on_with(plane: ControlPlane) -> None:
    _cut_off(plane)
    assert api_certificate.renew(plane.payload(), []) == {"changed": True}
    assert (plane.certificate(), plane.kept.exists()) == ("new", False)


def test_what_is_taken_back_after_a_cut_is_what_was_there_before_it(plane: ControlPlane) -> None:
    _cut_off(plane)
    plane.new_names = {VIP}
    with pytest.raises(ReleaseError, match=r"192\.0\.2\.11, api\.example"):
        api_certificate.renew(plane.payload(), [])
    assert (plane.certificate(), plane.kept.exists()) == ("old", False)


def test_one_that_was_cut_off_at_its_very_end_keeps_nothing_for_another_day(plane: ControlPlane) -> None:
    plane.kept.mkdir(parents=True)
    (plane.kept / "apiserver.crt").write_text("older")
    assert api_certificate.renew(plane.payload(names_vip=True), []) == {"changed": False}
    assert not plane.kept.exists()


def test_a_pod_left_aside_is_put_back_before_anything_is_asked(plane: ControlPlane) -> None:
    plane.away.parent.mkdir()
    plane.manifest.rename(plane.away)
    assert api_certificate.read(plane.payload(check_mode=True), [])["configuration"] == CLUSTER
    assert plane.away.exists(), "check mode changes nothing"
    api_certificate.read(plane.payload(), [])
    assert (plane.did, plane.manifest.read_text()) == (["read", "ready?", "read"], "old")


def test_a_control_plane_whose_pod_was_left_aside_stands_in_no_retry_s_way(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane.away.parent.mkdir()
    plane.manifest.rename(plane.away)
    admin = plane.folder / "admin.conf"
    admin.write_text("")
    monkeypatch.setattr(host_facts, "_ADMIN", str(admin))
    entry = parameters.parse(document(certificate_check="renewed"))
    facts = {
        "kubeadm_made": host_facts.is_kubeadm_made(),
        "certificates": host_facts._certificates(entry, entry.directors[0].host),
    }
    found: list[dict[str, Any]] = []
    for address, fault in facts["certificates"].items():
        checks._certificate(found, entry, facts, address, fault)
    assert [(one["level"], one["reason"]) for one in found] == [("warning", "certificate_renewed")]


def _kubeadm() -> str | None:
    folder = os.environ.get("KUBEBUILDER_ASSETS") or "/usr/local/kubebuilder/bin"
    return shutil.which("kubeadm", path=f"{folder}:{os.environ['PATH']}")


def test_kubeadm_itself_makes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = _kubeadm()
    if program is None:
        pytest.skip("no kubeadm here (KUBEBUILDER_ASSETS)")
    monkeypatch.setenv("PATH", f"{Path(program).parent}:{os.environ['PATH']}")
    pki = tmp_path / "pki"
    version = subprocess.run(
        [program, "version", "--output=short"], capture_output=True, text=True, check=True
    ).stdout.strip()
    configuration = CLUSTER.replace("v1.34.0", version) + f"certificatesDir: {pki}\n"
    first = tmp_path / "first.yaml"
    cluster, own = rendered(configuration)
    cluster["apiServer"]["certSANs"].remove(VIP)
    first.write_text(yaml.safe_dump_all([cluster, own]))
    for phase in ("ca", "apiserver"):
        argv = [program, "init", "phase", "certs", phase, f"--config={first}"]
        subprocess.run(argv, check=True, capture_output=True)
    before = api_certificate.names(str(pki / "apiserver.crt"))
    assert VIP not in before and "api.example" in before

    text, folder = entry_certificate.with_vip(configuration, VIP, "cp-a", "192.0.2.11", 6443)
    second = tmp_path / "second.yaml"
    second.write_text(text)
    api_certificate.make(folder, str(second), VIP, before)
    assert api_certificate.names(str(pki / "apiserver.crt")) == before | {VIP}
