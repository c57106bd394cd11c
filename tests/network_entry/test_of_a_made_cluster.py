# SPDX-License-Identifier: Apache-2.0
"""A cluster is ordered with its VIP: made with kubeadm, followed by the entry, reached through it, and directly again.

The lab's machine is small: one control plane serves, and the second back end hands what it gets on to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.site import Site
from tests.demo.rest import Refused
from tests.installs.environment import Environment, statuses
from tests.installs.made_cluster import WEB
from tests.lab import Lab, LabHost, kubeadm
from tests.network_entry import ordered
from tests.network_entry.cluster import Cluster, step

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.xdist_group("lab-bundle"),
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(kubeadm.why_not()), reason=kubeadm.why_not()),
]
NAME = "seen.control-plane.internal"
VRRP = "tidegate-network-entry-vrrp.service"
FORWARD = """\
[Service]
ExecStart=/usr/bin/socat TCP-LISTEN:6443,fork,reuseaddr TCP:{address}:6443
Restart=always
[Install]
WantedBy=multi-user.target
"""


@pytest.fixture(scope="module")
def site(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with ordered.serving(lab, tmp_path_factory.mktemp("seen") / "home", "seen") as made:
        yield made


@pytest.fixture
def nodes(lab: Lab) -> Iterator[list[LabHost]]:
    plane, worker = (lab.host(f"seen-{name}", docker=False) for name in ("plane", "worker"))
    for host in (plane, worker):
        kubeadm.prepare(host)
    unit = FORWARD.format(address=plane.address)
    worker.exec(["sh", "-c", "cat > /etc/systemd/system/forward.service"], input=unit)
    worker.exec(["systemctl", "enable", "--now", "--quiet", "forward.service"])
    yield [plane, worker]
    for host in (plane, worker):
        host.remove()


def test_it_is_made_followed_mended_reached_and_left(site: Site, nodes: list[LabHost]) -> None:
    plane = nodes[0]
    direct, vip = f"https://{plane.address}:6443", f"{plane.address.rsplit('.', 1)[0]}.244"
    broken(plane)
    wanted = {"mode": "lvs_vip", "lvs_vip": asked(site, nodes, vip)}
    environment, cluster_id = ordered.order(site, "seen", nodes, network_entry=wanted)
    cluster = Cluster(site, cluster_id, "seen", nodes, vip)

    # The entry fails three times, and the cluster is there all the same.
    (post,) = site.admin.get(f"/clusters/{cluster_id}")["post_tasks"]
    task = cluster.ended(post["task_id"])
    row = step(task, plane, "activate")
    assert task["state"] == "failed" and row and (row["status"], row["attempt"]) == ("failed", 3), task
    shown = site.admin.get(f"/clusters/{cluster_id}")
    assert (shown["status"], shown["endpoint"], shown["direct_endpoint"]) == ("ready", direct, None)
    assert (environment.show()["status"], cluster.show()["status"]) == ("ready", "failed")
    release = released(site, environment, cluster_id)
    assert release["lifecycle_state"] == "applied", release["diagnostics_json"]
    assert [ordered.leads_to(host, "seen") for host in nodes] == [plane.address] * 2

    # Mended and retried: the API server was made with the VIP's name, and everything leads there.
    mended(plane)
    site.admin.post(f"{cluster.path}/tasks/{task['task_id']}/retry")
    task = cluster.ended(task["task_id"])
    assert task["state"] == "succeeded", task["diagnostics_json"]
    for host in nodes:
        row = step(task, host, "endpoint")
        assert row and row["detail"] == {"endpoint": NAME, "from": plane.address, "to": vip}, task["steps"]
    entry = cluster.until(lambda one: one["status"] == "ready")
    assert entry["connection"] == {
        "endpoint": f"https://{vip}:6443", "through_vip": True, "direct_endpoint": direct,
    }  # fmt: skip
    assert [ordered.leads_to(host, "seen") for host in nodes] == [vip] * 2
    tested = site.admin.post(f"/clusters/{cluster_id}/connect/test", {})
    assert (
        tested["reachable"] and site.admin.get(f"/clusters/{cluster_id}")["endpoint"] == f"https://{vip}:6443"
    )
    for host in nodes:
        host.exec(["systemctl", "restart", "kubelet"])
    assert environment.health()["healthy"] is True

    # What is installed again stays as it is, also where it leads.
    again = environment.install(inputs=kubeadm.INPUTS)
    assert again["state"] == "succeeded", again["diagnostics_json"]
    assert [set(statuses(again, host).values()) for host in nodes] == [{"unchanged"}] * 2
    assert cluster.show()["connection"]["through_vip"] is True

    # A back end does not leave the cluster while the VIP counts on it.
    (back_end,) = [one["host_id"] for one in environment.show()["nodes"] if one["name"] == nodes[1].name]
    with pytest.raises(Refused, match="has a part in the network entry"):
        environment.preview("removal", host_ids=[back_end])
    assert cluster.show()["status"] == "ready" and environment.health()["healthy"] is True

    gone = cluster.do("rollback", remove=True)
    assert gone["state"] == "succeeded", gone["diagnostics_json"]
    assert [ordered.leads_to(host, "seen") for host in nodes] == [plane.address] * 2
    assert cluster.show()["connection"] == {"endpoint": direct, "through_vip": False, "direct_endpoint": None}
    assert cluster.holders() == []

    another_vip_is_added_to_the_certificate(cluster, plane)


def another_vip_is_added_to_the_certificate(cluster: Cluster, plane: LabHost) -> None:
    """A VIP that the API server was not made with: told, refused, and added where that was chosen."""
    cluster.vip = f"{plane.address.rsplit('.', 1)[0]}.245"
    before = plane.exec(["sha256sum", "/etc/kubernetes/pki/apiserver.crt"]).stdout
    refused = cluster.preview(certificate_check="required")
    assert refused["preview_ref"] is None
    assert "certificate_without_vip" in {one["reason"] for one in refused["preview"]["checks"]}
    preview = cluster.preview(certificate_check="renewed")
    shown = preview["preview"]["hosts"][plane.name]["entry"]["certificate"]
    assert (shown["names_vip"], shown["action"]) == (False, "renew")
    assert plane.exec(["sha256sum", "/etc/kubernetes/pki/apiserver.crt"]).stdout == before
    task = cluster.ended(cluster.start(preview)["task_id"], 400)
    assert task["state"] == "succeeded", task["diagnostics_json"]
    rows = {one["step"]: one["status"] for one in task["steps"] if one["host"] == plane.name}
    assert (rows["certificate"], rows["upload"], rows["endpoint"]) == ("succeeded",) * 3, rows
    kept = plane.exec(
        ["kubectl", "--kubeconfig=/etc/kubernetes/admin.conf", "-n", "kube-system", "get", "configmap",
         "kubeadm-config", "-o", "yaml"]
    ).stdout  # fmt: skip
    assert cluster.vip in kept
    assert cluster.show()["connection"]["endpoint"] == f"https://{cluster.vip}:6443"
    again = cluster.do(certificate_check="renewed")
    rows = {one["step"]: one["status"] for one in again["steps"] if one["host"] == plane.name}
    assert set(rows.values()) == {"unchanged"}, rows


def asked(site: Site, nodes: list[LabHost], vip: str) -> dict[str, Any]:
    wanted = Cluster(site, "", "", nodes, vip).asked(certificate_check="required")
    return {**wanted, "virtual_router_id": 82}


def released(site: Site, environment: Environment, cluster_id: str) -> dict[str, Any]:
    body = {
        "project_id": site.project_id, "name": "on-seen", "environment_id": environment.id,
        "cluster_id": cluster_id, "namespace": "default",
    }  # fmt: skip
    target = site.admin.post("/deploy/targets", body)
    service = site.service("k8s")
    site.admin.post(
        f"/services/{service.id}/versions", {"version": "1", "template": WEB, "health_timeout": 120}
    )
    return dict(service.release(target["id"], "1"))


def broken(host: LabHost) -> None:
    """Let VRRP's unit not start."""
    override = f"/etc/systemd/system/{VRRP}.d"
    stop = "[Service]\nExecStartPre=/bin/false\n"
    host.exec(["sh", "-c", f"mkdir {override}; cat > {override}/stop.conf"], input=stop)


def mended(host: LabHost) -> None:
    host.exec(["rm", "-r", f"/etc/systemd/system/{VRRP}.d"])
    host.exec(["systemctl", "daemon-reload"])
