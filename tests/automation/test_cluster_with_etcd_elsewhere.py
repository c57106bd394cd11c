# SPDX-License-Identifier: Apache-2.0
"""A cluster of three control planes that keeps everything in an etcd elsewhere, and leaves that empty behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.automation import cluster_install
from tests.automation.cluster_install import cluster, is_ready, kubectl, nodes
from tests.automation.environment import left_behind, moved
from tests.lab import image, kube_assets, kubeadm
from tests.lab.host import LabHost
from tests.lab.kube_certificates import Authority
from tests.lab.lab import Lab

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.xdist_group("lab-bundle"),
    pytest.mark.timeout(2400),
    pytest.mark.skipif(bool(kubeadm.why_not()), reason=kubeadm.why_not()),
]
PKI = "etc/lab-etcd"


@dataclass
class Elsewhere:
    """An etcd of one member on a host of its own, which lets in whom its authority knows."""

    host: LabHost
    authority: Authority

    @classmethod
    def start(cls, host: LabHost) -> Elsewhere:
        made = cls(host, Authority("etcd elsewhere"))
        own = made.authority.issue("etcd", addresses=[host.address, "127.0.0.1"])
        files = {"ca.crt": made.authority.pair.certificate, "own.crt": own.certificate, "own.key": own.key}
        image.put_files(
            host.lab.engine,
            host.container,
            {
                "usr/local/bin/etcd": (kube_assets.program("etcd").read_bytes(), 0o755),
                **{f"{PKI}/{name}": (text.encode(), 0o600) for name, text in files.items()},
            },
        )
        urls = f"{made.endpoint},https://127.0.0.1:2379"
        host.exec(
            [
                "systemd-run", "--unit", "lab-etcd", "--property", "Type=notify", "/usr/local/bin/etcd",
                "--name", "elsewhere", "--data-dir", "/var/lib/etcd/lab", "--listen-client-urls", urls,
                "--advertise-client-urls", made.endpoint, "--client-cert-auth", "--trusted-ca-file", f"/{PKI}/ca.crt",
                "--cert-file", f"/{PKI}/own.crt", "--key-file", f"/{PKI}/own.key",
            ]
        )  # fmt: skip
        return made

    @property
    def endpoint(self) -> str:
        return f"https://{self.host.address}:2379"

    def inputs(self) -> dict[str, Any]:
        """What an install is told of it."""
        client = self.authority.issue("kube-apiserver")
        return {
            "etcd_endpoints": [self.endpoint],
            "etcd_ca": self.authority.pair.certificate,
            "etcd_certificate": client.certificate,
            "etcd_key": client.key,
        }

    def ask(self, verb: str, **asked: Any) -> dict[str, Any]:
        """Ask its gateway, on its own host."""
        said = self.host.exec(
            [
                "curl", "--silent", "--show-error", "--fail", "--cacert", f"/{PKI}/ca.crt", "--cert",
                f"/{PKI}/own.crt", "--key", f"/{PKI}/own.key", "--data", json.dumps(asked),
                f"https://127.0.0.1:2379/v3/kv/{verb}",
            ]
        )  # fmt: skip
        return dict(json.loads(said.stdout))

    def count(self) -> int:
        """How many keys it holds."""
        # "AA==" is the least key; as an end it means all that follow.
        return int(self.ask("range", key="AA==", range_end="AA==", count_only=True).get("count", 0))


@pytest.fixture
def elsewhere(lab: Lab) -> Iterator[Elsewhere]:
    host = lab.host("etcd-elsewhere", docker=False)
    yield Elsewhere.start(host)
    host.remove()


@pytest.fixture
def planes(lab: Lab) -> Iterator[list[LabHost]]:
    made = [cluster_install.bare(lab, f"outer-{name}") for name in ("a", "b", "c")]
    yield made
    for host in made:
        host.remove()


def test_a_cluster_in_an_etcd_elsewhere(
    lab: Lab, elsewhere: Elsewhere, planes: list[LabHost], tmp_path: Path
) -> None:
    first, inputs = planes[0], elsewhere.inputs()
    environments = cluster(lab, tmp_path, *planes, planes=3, inputs=inputs)
    before = {host.name: left_behind(host) for host in planes}
    # /registry/foreign
    elsewhere.ask("put", key="L3JlZ2lzdHJ5L2ZvcmVpZ24=", value="eA==")
    environments.run("preflight")
    told = environments.result(first, "preflight")
    [check] = [one for one in told["checks"] if one["level"] == "blocking"]
    assert (check["code"], "holds 1 objects of another cluster" in check["message"]) == ("conflict", True)
    shown = {one["name"]: one["value"] for one in told["inputs"]}
    assert (shown["etcd_endpoints"], shown["etcd_key"]) == ([elsewhere.endpoint], "***")
    elsewhere.ask("deleterange", key="L3JlZ2lzdHJ5L2ZvcmVpZ24=")
    assert {host.name: moved(host, before[host.name]) for host in planes} == {
        host.name: {} for host in planes
    }

    environments.run("install")
    assert {name: is_ready(one) for name, one in nodes(tmp_path, first).items()} == {
        host.name: True for host in planes
    }
    assert elsewhere.count() > 100
    pods = kubectl(
        tmp_path, first, "get", "pods", "-n", "kube-system", "-o", "jsonpath={.items[*].metadata.name}"
    )
    assert "kube-apiserver" in pods and "etcd" not in pods
    for host in planes:
        mode = host.exec(["stat", "--format", "%a %U", "/etc/kubernetes/external-etcd/client.key"]).stdout
        assert mode.strip() == "600 root"
        found = host.exec(["find", "/var/lib/etcd", "/etc/kubernetes/manifests/etcd.yaml"], check=False)
        assert found.stdout in ("", "/var/lib/etcd\n"), "there is no etcd on it"
    # What was told is in the document that it was told with, and nowhere else on this machine.
    secret = inputs["etcd_key"].splitlines()[1]
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "spec.json"]
    assert [path.name for path in kept if secret in path.read_text(errors="replace")] == []

    again = environments.run("install")
    assert again.stdout.count("changed=0") == 3, again.stdout
    environments.play("certificates_rotate.yml")
    rows = {one["name"]: one for one in environments.result(first, "certificates")["certificates"]}
    assert rows["external-etcd-client"]["issuer"] == "CN=etcd elsewhere"
    assert all(is_ready(one) for one in nodes(tmp_path, first).values())

    other = environments.run("install", check=False, inputs={**kubeadm.INPUTS})
    assert "etcd_endpoints was" in other.stdout
    renewed = elsewhere.authority.issue("kube-apiserver")
    given = {"etcd_certificate": renewed.certificate, "etcd_key": renewed.key}
    environments.run("install", inputs={**environments.spec["inputs"], **given})
    for host in planes:
        statuses = environments.statuses(host, "install")
        assert {name for name, one in statuses.items() if one == "succeeded"} == {"kubernetes_node"}
        there = host.exec(["cat", "/etc/kubernetes/external-etcd/client.crt"]).stdout
        assert there == renewed.certificate

    environments.run("rollback")
    assert {host.name: moved(host, before[host.name]) for host in planes} == {
        host.name: {} for host in planes
    }
    assert elsewhere.count() == 0
