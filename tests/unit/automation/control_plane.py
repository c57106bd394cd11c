# SPDX-License-Identifier: Apache-2.0
"""A control plane of files: certificates that are real, and pods that run while their manifests are there."""

from __future__ import annotations

import base64
import subprocess
import time
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.environment import (
    certificate_checks,
    certificate_rotation,
    certificate_set,
    external_etcd,
    kubectl,
    static_pods,
)
from ansible_collections.tidegate.deploy.plugins.module_utils.host import state_folder

from tests.lab.kube_certificates import YEAR, Authority, Pair

FILES = {
    "apiserver": ("ca", "kube-apiserver"),
    "apiserver-kubelet-client": ("ca", "kube-apiserver-kubelet-client"),
    "apiserver-etcd-client": ("etcd/ca", "kube-apiserver-etcd-client"),
    "front-proxy-client": ("front-proxy-ca", "front-proxy-client"),
    "etcd/server": ("etcd/ca", "plane-1"),
    "etcd/peer": ("etcd/ca", "plane-1"),
    "etcd/healthcheck-client": ("etcd/ca", "kube-etcd-healthcheck-client"),
}
KUBECONFIGS = {
    "admin.conf": "kubernetes-admin",
    "controller-manager.conf": "system:kube-controller-manager",
    "scheduler.conf": "system:kube-scheduler",
}


@dataclass
class ControlPlane:
    """Its folder; `restarts` in order; `ill` are pods that never become well with certificates of these serials."""

    root: Path
    authorities: dict[str, Authority]
    begun: dict[str, float]
    restarts: list[str] = field(default_factory=list)
    ill: dict[str, set[str]] = field(default_factory=dict)
    kubeadm: int = 0
    kubeadm_runs: int = 0

    @property
    def etc(self) -> Path:
        return self.root / "kubernetes"

    def issue(self, valid: timedelta = YEAR) -> None:
        """Make every certificate anew, as kubeadm does."""
        for name, (authority, subject) in FILES.items():
            names = ["plane-1", "192.0.2.10"] if name == "apiserver" else []
            self.put(name, self.authorities[authority].issue(subject, addresses=names, valid=valid))
        for name, subject in KUBECONFIGS.items():
            self.kubeconfig(
                name, self.authorities["ca"].issue(subject, ["kubeadm:cluster-admins"], valid=valid)
            )

    def put(self, name: str, pair: Pair) -> None:
        path = self.etc / "pki" / f"{name}.crt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(pair.certificate)
        path.with_suffix(".key").write_text(pair.key)

    def kubeconfig(self, name: str, pair: Pair) -> None:
        data = base64.b64encode(pair.certificate.encode()).decode()
        (self.etc / name).write_text(f"users:\n- user:\n    client-certificate-data: {data}\n")

    def rows(self) -> dict[str, dict[str, Any]]:
        return {one["name"]: one for one in certificate_set.read()}

    def serials(self) -> dict[str, str]:
        return certificate_set.serials(certificate_set.read())

    def run(self, *words: str, timeout: int = 0) -> subprocess.CompletedProcess[str]:
        assert words[:4] == ("kubeadm", "certs", "renew", "all")
        self.kubeadm_runs += 1
        if self.kubeadm:
            # It came as far as one of them.
            self.put("apiserver", self.authorities["ca"].issue("kube-apiserver"))
            return subprocess.CompletedProcess(words, self.kubeadm, "", "no space left")
        self.issue()
        return subprocess.CompletedProcess(words, 0, "renewed", "")

    def pids(self, name: str) -> list[int]:
        if not Path(static_pods.manifest(name)).exists():
            self.begun.pop(name, None)
            return []
        if name not in self.begun:
            self.restarts.append(name)
            self.begun[name] = time.time()
        return [list(static_pods.NAMES).index(name)]

    def is_well(self, where: static_pods.Place) -> bool:
        name = {2381: "etcd", 6443: "kube-apiserver", 10257: "kube-controller-manager"}.get(
            where.port, "kube-scheduler"
        )
        if not self.pids(name):
            return False
        return self.serials()["apiserver"] in self.ill.get(name, {""}) or name not in self.ill


def make(root: Path, monkeypatch: pytest.MonkeyPatch, valid: timedelta = YEAR) -> ControlPlane:
    """A control plane whose certificates are good for so long."""
    authorities = {name: Authority(name) for name in ("ca", "etcd/ca", "front-proxy-ca")}
    plane = ControlPlane(root, authorities, dict.fromkeys(static_pods.NAMES, 1.0))
    manifests = plane.etc / "manifests"
    manifests.mkdir(parents=True)
    monkeypatch.setattr(static_pods, "FOLDER", str(manifests))
    monkeypatch.setattr(static_pods, "_AWAY", str(plane.etc / "tidegate-away"))
    monkeypatch.setattr(static_pods, "PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(static_pods, "_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(static_pods, "_pids", plane.pids)
    monkeypatch.setattr(
        static_pods, "_begun", lambda pid: plane.begun.get(static_pods.NAMES[pid], time.time())
    )
    monkeypatch.setattr(static_pods, "is_well", plane.is_well)
    monkeypatch.setattr(static_pods, "shows", lambda _where, _path: True)
    monkeypatch.setattr(certificate_set, "KUBERNETES", str(plane.etc))
    monkeypatch.setattr(certificate_set, "KUBELET", str(root / "kubelet"))
    monkeypatch.setattr(certificate_set, "KUBELET_CONFIG", str(root / "kubelet/config.yaml"))
    for name in ("CA", "CERTIFICATE", "KEY"):
        monkeypatch.setattr(external_etcd, name, str(root / "external-etcd" / name.lower()))
    monkeypatch.setattr(certificate_rotation, "run", plane.run)
    monkeypatch.setattr(certificate_rotation, "_not_well", lambda _name: "")
    monkeypatch.setattr(kubectl, "ADMIN", str(plane.etc / "admin.conf"))
    monkeypatch.setattr(state_folder, "path", lambda name: str(root / "state" / name))
    monkeypatch.setattr(certificate_checks, "has_program", lambda _name: True)
    for name in static_pods.NAMES:
        flag = f"--client-ca-file={plane.etc}/pki/ca.crt" if name == "kube-apiserver" else ""
        (manifests / f"{name}.yaml").write_text(f"- {name}\n    - {flag}\n")
    for name, authority in authorities.items():
        plane.put(name, authority.pair)
    plane.issue(valid)
    (root / "kubelet").mkdir()
    # As kubeadm writes it.
    (root / "kubelet/config.yaml").write_text("kind: KubeletConfiguration\nrotateCertificates: true\n")
    own = authorities["ca"].issue("system:node:plane-1", ["system:nodes"])
    (root / "kubelet" / "kubelet-client-current.pem").write_text(own.certificate + own.key)
    return plane
