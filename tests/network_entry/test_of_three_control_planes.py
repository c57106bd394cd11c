# SPDX-License-Identifier: Apache-2.0
"""A cluster of three control planes gets a VIP that its API servers were not made with: each certificate is made again
after the one before is ready, while the cluster serves; and a worker that cannot be reached is led there later."""

from __future__ import annotations

import contextlib
import itertools
import ssl
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.automation.environment import left_behind, moved
from tests.conformance.site import Site
from tests.demo.rest import Refused
from tests.installs.environment import Environment
from tests.lab import Lab, LabHost, kube_assets, kubeadm
from tests.network_entry import ordered
from tests.network_entry.cluster import Cluster, step

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.xdist_group("lab-bundle"),
    pytest.mark.timeout(2400),
    pytest.mark.skipif(bool(kubeadm.why_not()), reason=kubeadm.why_not()),
]
NAME = "trio"
ADMIN = "/etc/kubernetes/admin.conf"
CERTIFICATE = "/etc/kubernetes/pki/apiserver.crt"
TRUSTING_NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
TRUSTING_NOBODY.check_hostname, TRUSTING_NOBODY.verify_mode = False, ssl.CERT_NONE


@pytest.fixture(scope="module")
def site(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with ordered.serving(lab, tmp_path_factory.mktemp("trio") / "home", "trio") as made:
        yield made


@pytest.fixture
def nodes(lab: Lab) -> Iterator[list[LabHost]]:
    """Three control planes and a worker."""
    made = [lab.host(f"trio-{name}", docker=False) for name in ("c", "a", "b", "worker")]
    for host in made:
        kubeadm.prepare(host)
    yield made
    for host in made:
        host.remove()


def test_it_gets_a_vip(site: Site, nodes: list[LabHost], tmp_path: Path) -> None:
    planes, worker = nodes[:3], nodes[3]
    bare = left_behind(worker)
    environment, cluster_id = ordered.order(site, NAME, nodes, planes=3)
    cluster = Cluster(site, cluster_id, NAME, planes, f"{planes[0].address.rsplit('.', 1)[0]}.246")
    direct = [ordered.leads_to(host, NAME) for host in nodes]

    the_certificates_are_made_again_one_after_another(cluster, planes, worker)
    it_is_used_through_the_vip(cluster, planes, tmp_path)
    it_survives_the_active_one(cluster, planes, tmp_path)
    the_worker_is_led_there_when_it_answers(cluster, planes, worker)
    who_has_a_part_stays_and_a_worker_may_leave(cluster, environment, planes, worker)
    assert moved(worker, bare) == {}

    gone = cluster.do("rollback", remove=True)
    assert gone["state"] == "succeeded", gone["diagnostics_json"]
    assert [ordered.leads_to(host, NAME) for host in planes] == direct[:3]
    assert cluster.holders() == []
    assert cluster.show()["connection"]["through_vip"] is False
    assert environment.health()["healthy"] is True


def the_certificates_are_made_again_one_after_another(
    cluster: Cluster, planes: Sequence[LabHost], worker: LabHost
) -> None:
    before = [host.exec(["sha256sum", CERTIFICATE]).stdout for host in planes]
    assert not any(cluster.vip in names(host) for host in planes)
    worker.pause()
    preview = previewed(cluster)
    shown = {host.name: preview["preview"]["hosts"][host.name]["entry"]["certificate"] for host in planes}
    assert {one["action"] for one in shown.values()} == {"renew"}
    warned = {one["host"] for one in preview["preview"]["checks"] if one["reason"] == "node_unreachable"}
    assert warned == {worker.name}, preview["preview"]["checks"]
    assert [host.exec(["sha256sum", CERTIFICATE]).stdout for host in planes] == before

    with watched(planes) as unready:
        task = cluster.ended(cluster.start(preview)["task_id"], ordered.SECONDS)
    assert task["state"] == "succeeded", task["diagnostics_json"]
    gaps = {name: (min(moments), max(moments)) for name, moments in unready.items() if moments}
    print("not ready, seconds since the apply began:", gaps)
    # Each was away once, and came back before the next went.
    assert set(gaps) == {host.name for host in planes}
    spans = sorted(gaps.values())
    assert all(one[1] < other[0] for one, other in itertools.pairwise(spans)), gaps
    rows = [step(task, host, "certificate") for host in planes]
    assert [row and row["status"] for row in rows] == ["succeeded"] * 3, rows
    uploads = [step(task, host, "upload") for host in planes]
    assert sorted(str(row and row["status"]) for row in uploads) == ["succeeded", "unchanged", "unchanged"]
    now = [host.exec(["sha256sum", CERTIFICATE]).stdout for host in planes]
    assert not set(now) & set(before)
    assert all({cluster.vip, host.address} <= names(host) for host in planes)
    kept = kubectl_on(planes[1], "-n", "kube-system", "get", "configmap", "kubeadm-config", "-o", "yaml")
    assert f"- {cluster.vip}" in kept

    # The worker was gone on without, and is told of.
    row = step(task, worker, "endpoint")
    assert row and (row["status"], row["error_key"]) == ("failed", "ssh_unreachable"), row
    assert "apply the entry again" in row["remediation"]
    assert [ordered.leads_to(host, NAME) for host in planes] == [cluster.vip] * 3
    entry = cluster.until(lambda one: one["last_check_at"] is not None)
    assert (entry["status"], reasons(entry)) == ("degraded", {("node_not_led", worker.name)})


def it_is_used_through_the_vip(cluster: Cluster, planes: Sequence[LabHost], folder: Path) -> None:
    assert cluster.show()["connection"]["endpoint"] == f"https://{cluster.vip}:6443"
    tested = cluster.site.admin.post(f"/clusters/{cluster.id}/connect/test", {})
    assert tested["reachable"] is True, tested
    for host in planes:
        assert host.name in kubectl(cluster, planes[0], folder, "get", "nodes", "-o", "name")


def it_survives_the_active_one(cluster: Cluster, planes: Sequence[LabHost], folder: Path) -> None:
    active = cluster.show()["active_node"]
    (gone,) = [host for host in planes if host.name == active]
    other = next(host for host in planes if host is not gone)
    credential = other.exec(["cat", ADMIN]).stdout
    gone.pause()
    try:
        end = time.monotonic() + 90
        while True:
            done = asked(cluster, credential, folder, "get", "nodes", "--request-timeout=5s")
            if done.returncode == 0:
                break
            assert time.monotonic() < end, done.stderr
    finally:
        gone.unpause()
    cluster.until(lambda one: one["active_node"] == active, 120)


def the_worker_is_led_there_when_it_answers(
    cluster: Cluster, planes: Sequence[LabHost], worker: LabHost
) -> None:
    worker.unpause()
    # A check changes nothing, and says what is so.
    entry = cluster.until(
        lambda one: [each["message"] for each in one["problems"] if "answers, and" in each["message"]] != [],
        120,
    )
    assert (entry["status"], reasons(entry)) == ("degraded", {("node_not_led", worker.name)})
    assert ordered.leads_to(worker, NAME) != cluster.vip
    preview = previewed(cluster)
    assert preview["preview"]["hosts"][worker.name]["entry"]["endpoint"]["to"] == cluster.vip
    task = cluster.ended(cluster.start(preview)["task_id"], ordered.SECONDS)
    assert task["state"] == "succeeded", task["diagnostics_json"]
    for host in planes:
        rows = {one["step"]: one["status"] for one in task["steps"] if one["host"] == host.name}
        assert set(rows.values()) == {"unchanged"}, rows
    row = step(task, worker, "endpoint")
    assert row and row["status"] == "succeeded", task["steps"]
    assert ordered.leads_to(worker, NAME) == cluster.vip
    assert cluster.show()["status"] == "ready"


def who_has_a_part_stays_and_a_worker_may_leave(
    cluster: Cluster, environment: Environment, planes: Sequence[LabHost], worker: LabHost
) -> None:
    ids = {one["name"]: one["host_id"] for one in environment.show()["nodes"]}
    with pytest.raises(Refused):
        environment.preview("removal", host_ids=[ids[planes[1].name]])
    assert cluster.show()["status"] == "ready"
    task = environment.install("removal", host_ids=[ids[worker.name]])
    assert task["state"] == "succeeded", task["diagnostics_json"]
    assert sorted(one["name"] for one in environment.show()["nodes"]) == sorted(one.name for one in planes)
    entry = cluster.until(lambda one: one["status"] == "ready")
    assert entry["connection"]["through_vip"] is True


def previewed(cluster: Cluster) -> dict[str, Any]:
    return cluster.preview(certificate_check="renewed", virtual_router_id=83)


def reasons(entry: dict[str, Any]) -> set[tuple[str, str]]:
    return {(one["reason"], one["host"]) for one in entry["problems"]}


def names(host: LabHost) -> set[str]:
    """The addresses in the certificate that an API server shows."""
    shown = x509.load_pem_x509_certificate(ssl.get_server_certificate((host.address, 6443)).encode())
    found = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(one) for one in found.get_values_for_type(x509.IPAddress)}


@contextlib.contextmanager
def watched(planes: Sequence[LabHost]) -> Iterator[dict[str, list[float]]]:
    """Ask each API server all the time whether it is ready; gives the moments at which it was not."""
    unready: dict[str, list[float]] = {host.name: [] for host in planes}
    begun, over = time.monotonic(), threading.Event()

    def watch(host: LabHost) -> None:
        while not over.is_set():
            moment = time.monotonic() - begun
            try:
                url = f"https://{host.address}:6443/readyz"
                urllib.request.urlopen(url, timeout=5, context=TRUSTING_NOBODY).close()
            except OSError:
                unready[host.name].append(round(moment, 1))
            time.sleep(0.1)

    threads = [threading.Thread(target=watch, args=(host,), daemon=True) for host in planes]
    for thread in threads:
        thread.start()
    try:
        yield unready
    finally:
        over.set()
        for thread in threads:
            thread.join()


def kubectl_on(plane: LabHost, *words: str) -> str:
    return plane.exec(["kubectl", f"--kubeconfig={ADMIN}", *words]).stdout


def kubectl(cluster: Cluster, plane: LabHost, folder: Path, *words: str) -> str:
    """kubectl of this machine, which is none of the cluster's, through the VIP."""
    done = asked(cluster, plane.exec(["cat", ADMIN]).stdout, folder, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def asked(cluster: Cluster, credential: str, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Ask through the VIP with an administrator's credential; the cluster's authority vouches for who answers."""
    path = folder / "kubeconfig"
    path.write_text(credential)
    program = str(kube_assets.program("kubectl"))
    server = f"--server=https://{cluster.vip}:6443"
    argv = [program, f"--kubeconfig={path}", server, *words]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
