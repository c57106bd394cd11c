# SPDX-License-Identifier: Apache-2.0
"""The certificates of a cluster made with kubeadm are listed and rotated through the API; the cluster serves on."""

from __future__ import annotations

import json
from datetime import datetime

import pytest

from tests.installs.environment import statuses
from tests.installs.made_cluster import MadeCluster
from tests.installs.rotations import PODS, Rotations, serials
from tests.lab import kubeadm

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.xdist_group("lab-bundle"),
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(kubeadm.why_not()), reason=kubeadm.why_not()),
]
RENEWED = {
    "apiserver", "apiserver-kubelet-client", "apiserver-etcd-client", "front-proxy-client", "etcd-server",
    "etcd-peer", "etcd-healthcheck-client", "admin.conf", "super-admin.conf", "controller-manager.conf",
    "scheduler.conf",
}  # fmt: skip


@pytest.fixture
def rotations(made_cluster: MadeCluster) -> Rotations:
    return Rotations(made_cluster)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_they_are_listed_and_rotated_and_the_cluster_serves_on(rotations: Rotations) -> None:
    cluster, host = rotations.cluster, rotations.cluster.host
    before = rotations.rows()
    assert set(serials(before)) == RENEWED
    assert set(serials(before, "authority")) == {"ca", "etcd-ca", "front-proxy-ca"}
    assert before["kubelet-client"]["subject"] == f"O=system:nodes, CN=system:node:{host.name}"
    assert all(row["days_left"] in (364, 365) for name, row in before.items() if name in RENEWED)
    kept, served = cluster.show(), rotations.served()
    assert moment(kept["credential_expires_at"]) == moment(before["admin.conf"]["expires_at"])

    preview = rotations.preview()
    assert preview["preview"]["needed"] is False
    assert [check["reason"] for check in preview["preview"]["checks"]] == ["not_needed"]
    assert preview["preview"]["summary"]["restart"] == len(PODS)
    task = rotations.ended(rotations.start(preview))
    assert task["state"] == "succeeded", task["diagnostics_json"]
    steps = statuses(task, host)
    assert list(steps) == ["preflight", "renew", *PODS, "verify"]
    assert [steps[name] for name in ("renew", "etcd", "kube-apiserver")] == ["succeeded"] * 3
    # The others may have ended by themselves while the API server did not answer, and run by the new ones already.
    assert all(age < rotations.age_of_files() for age in rotations.ages_of_pods().values())

    after = rotations.rows()
    assert all(serials(after)[name] != serial for name, serial in serials(before).items())
    assert serials(after, "authority") == serials(before, "authority")
    assert rotations.served() != served, "the API server shows the new one"
    now = cluster.show()
    assert moment(now["credential_expires_at"]) == moment(after["admin.conf"]["expires_at"])
    assert moment(now["credential_expires_at"]) > moment(kept["credential_expires_at"])
    assert (now["endpoint"], now["status"], now["version"]) == (
        kept["endpoint"],
        "ready",
        kept["version"] + 1,
    )
    left = host.exec(
        ["find", "/var/lib/tidegate/certificates", "/etc/kubernetes/tidegate-away", "-type", "f"]
    )
    assert left.stdout.split() == ["/var/lib/tidegate/certificates/state.json"], "no old key is left"
    release = cluster.release("rotated")
    assert release["lifecycle_state"] == "applied", release["diagnostics_json"]

    again = rotations.preview()
    assert again["preview"]["needed"] is False
    assert again["preview"]["first_expires_at"] > preview["preview"]["first_expires_at"]


def test_one_that_dies_on_its_host_ends_and_is_gone_on_with(rotations: Rotations) -> None:
    """The worst moment: the API server's pod was taken down, and nobody is there to start it again."""
    cluster = rotations.cluster
    before = rotations.rows()
    task_id = rotations.start(rotations.preview())
    rotations.until_away("kube-apiserver")
    lock = json.loads(cluster.host.exec(["cat", "/var/lib/tidegate/environment.lock"]).stdout)
    cluster.host.exec(["kill", "-KILL", str(lock["pid"])])
    task = rotations.ended(task_id)
    assert task["state"] == "failed"
    assert cluster.host.exec(["ls", "/var/lib/tidegate/certificates/kept"]).stdout, "what was there is kept"

    rotations.admin.post(f"{rotations.path}/rotate/tasks/{task_id}/retry")
    done = rotations.ended(task_id)
    assert done["state"] == "succeeded", done["diagnostics_json"]
    after = rotations.rows()
    assert all(serials(after)[name] != serial for name, serial in serials(before).items())
    assert rotations.admin.post(f"/clusters/{cluster.id}/connect/test", {})["reachable"]
