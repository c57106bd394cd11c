# SPDX-License-Identifier: Apache-2.0
"""A cluster grows from one control plane to three, whose certificates are rotated one after another."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import httpx
import pytest

from tests.automation import cluster_install
from tests.conformance.site import Site
from tests.demo.rest import Refused
from tests.installs.environment import Environment, statuses
from tests.installs.killable import Killable
from tests.installs.made_cluster import MadeCluster
from tests.installs.rotations import PODS, Rotations, serials
from tests.lab import Lab, LabHost, kubeadm

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.xdist_group("lab-bundle"),
    pytest.mark.timeout(2400),
    pytest.mark.skipif(bool(kubeadm.why_not()), reason=kubeadm.why_not()),
]
SECONDS = 1200


@dataclass
class Planes:
    """A server that can be killed, and the cluster that it made; `hosts` are its control planes, the first first."""

    killable: Killable
    made: MadeCluster
    hosts: list[LabHost]

    @property
    def environment(self) -> Environment:
        return self.made.environment

    @property
    def rotations(self) -> Rotations:
        return Rotations(self.made)

    @property
    def in_turn(self) -> list[LabHost]:
        """As a rotation goes: by their names."""
        return sorted(self.hosts, key=lambda host: host.name)

    def kubectl(self, *words: str) -> str:
        return self.hosts[0].exec(["kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf", *words]).stdout

    def nodes(self) -> dict[str, bool]:
        """Whether each node is ready."""
        listed = json.loads(self.kubectl("get", "nodes", "-o", "json"))["items"]
        return {one["metadata"]["name"]: cluster_install.is_ready(one) for one in listed}


@pytest.fixture(scope="module")
def planes(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planes]:
    """A cluster of one control plane, whose name is the last of the three: its turn comes after the others."""
    killable = Killable(tmp_path_factory.mktemp("planes") / "home")
    hosts = [lab.host(f"grow-{name}", docker=False) for name in ("z", "a", "b")]
    try:
        project = killable.admin.post("/projects", {"name": "planes"})["id"]
        site = Site(killable.admin, project, lab)
        made = MadeCluster.build(site, hosts[0], "grown")
        for host in hosts[1:]:
            kubeadm.prepare(host)
        yield Planes(killable, made, hosts)
    finally:
        killable.stop()
        for host in hosts:
            host.remove()


@dataclass
class Watched:
    """The control planes whose API server did not answer, as they were seen together at one moment."""

    looks: int = 0
    silent: list[set[str]] = field(default_factory=list)


@contextmanager
def watched(hosts: Sequence[LabHost]) -> Iterator[Watched]:
    """Ask every API server, again and again, while this lasts."""
    seen, is_over = Watched(), threading.Event()

    def look() -> None:
        with httpx.Client(verify=False, timeout=5, trust_env=False) as client:
            while not is_over.wait(0.3):
                seen.silent.append({host.name for host in hosts if not _listens(client, host)})
                seen.looks += 1

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        is_over.set()
        thread.join()


def _listens(client: httpx.Client, host: LabHost) -> bool:
    """Not whether it is ready: that it is not for a second while etcd chooses another leader, wherever that was."""
    try:
        client.get(f"https://{host.address}:6443/livez")
    except httpx.ConnectError:
        return False
    except httpx.HTTPError:
        pass
    return True


def ended(steps: Sequence[Mapping[str, Any]]) -> datetime:
    return datetime.fromisoformat(steps[-1]["finished_at"])


def took(steps: Sequence[Mapping[str, Any]]) -> timedelta:
    return timedelta(milliseconds=sum(one["duration_ms"] for one in steps))


def all_serials(rotations: Rotations) -> dict[str, dict[str, str]]:
    return {host: serials(rows) for host, rows in rotations.rows_by_host().items()}


def test_a_cluster_of_one_grows_to_three(planes: Planes) -> None:
    environment, (first, *others) = planes.environment, planes.hosts
    site, cluster = planes.made.site, planes.made.show()
    [node] = environment.show()["nodes"]
    nodes = [{"host_id": node["host_id"], "role": "control_plane"}]
    two = [*nodes, {"host_id": site.register(others[0]), "role": "control_plane"}]
    site.admin.put(f"{environment.path}/nodes", two)
    with pytest.raises(Refused, match="one or three control planes, not 2"):
        environment.preview(inputs=kubeadm.INPUTS)
    three = [*two, {"host_id": site.register(others[1]), "role": "control_plane"}]
    site.admin.put(f"{environment.path}/nodes", three)

    other = environment.preview(inputs={**kubeadm.INPUTS, "pod_subnet": "10.200.0.0/16"})
    assert other["preview_ref"] is None
    [check] = [one for one in other["preview"]["checks"] if one["level"] == "blocking"]
    assert (check["code"], check["host"]) == ("conflict", first.name)
    assert 'pod_subnet was "10.244.0.0/16"' in check["message"]

    preview = environment.preview(inputs=kubeadm.INPUTS)
    plans = {
        host.name: {one["step"]: one["action"] for one in preview["preview"]["hosts"][host.name]["plan"]}
        for host in planes.hosts
    }
    assert plans[first.name]["control_plane_init"] == plans[first.name]["kubernetes_node"] == "done"
    assert all(set(plans[host.name].values()) == {"run"} for host in others)
    task = environment.ended(environment.apply(preview)["task_id"], SECONDS)
    assert task["state"] == "succeeded", task["diagnostics_json"]
    assert {statuses(task, host)["control_plane_join"] for host in others} == {"succeeded"}
    # The one that was there is told of the others' pods, and of nothing else.
    changed = {name for name, status in statuses(task, first).items() if status == "succeeded"}
    assert changed == {"cluster_network"}

    assert planes.nodes() == {host.name: True for host in planes.hosts}
    assert members(first) == {host.name for host in planes.hosts}
    now = planes.made.show()
    assert (now["id"], now["endpoint"], now["status"]) == (cluster["id"], cluster["endpoint"], "ready")
    assert site.admin.post(f"/clusters/{now['id']}/connect/test", {})["reachable"]
    again = environment.ended(
        environment.apply(environment.preview(inputs=kubeadm.INPUTS))["task_id"], SECONDS
    )
    assert again["state"] == "succeeded", again["diagnostics_json"]
    assert {status for host in planes.hosts for status in statuses(again, host).values()} == {"unchanged"}


def members(host: LabHost) -> set[str]:
    """The names of etcd's members that vote, as one of them tells."""
    pki = "/etc/kubernetes/pki/etcd"
    said = host.exec(
        [
            "curl", "--silent", "--show-error", "--fail", "--cacert", f"{pki}/ca.crt",
            "--cert", f"{pki}/healthcheck-client.crt", "--key", f"{pki}/healthcheck-client.key",
            "--data", "{}", "https://127.0.0.1:2379/v3/cluster/member/list",
        ]
    ).stdout  # fmt: skip
    found: list[dict[str, Any]] = json.loads(said)["members"]
    return {one["name"] for one in found if not one.get("isLearner")}


def test_their_certificates_are_rotated_one_control_plane_after_another(planes: Planes) -> None:
    rotations, made = planes.rotations, planes.made
    target, kept = made.target, made.show()
    looked_at = made.site.admin.get(f"/deploy/targets/{target}")["cluster_access"]["checked_at"]
    before, served = all_serials(rotations), {host.name: rotations.served(host) for host in planes.hosts}
    assert set(before) == {host.name for host in planes.hosts}
    preview = rotations.preview()
    assert preview["preview"]["summary"]["restart"] == 3 * len(PODS)
    with watched(planes.hosts) as seen:
        task = rotations.ended(rotations.start(preview), SECONDS)
    assert task["state"] == "succeeded", task["diagnostics_json"]

    silent = [one for one in seen.silent if one]
    assert {name for one in silent for name in one} == set(before), "each was restarted"
    assert all(len(one) == 1 for one in silent), "and no two at once"
    turns = [[one for one in task["steps"] if one["host"] == host.name] for host in planes.in_turn]
    for steps in turns:
        assert [one["step"] for one in steps] == ["preflight", "renew", *PODS, "verify"]
    for one, after in pairwise(turns):
        assert ended(one) < ended(after) - took(after) + timedelta(seconds=3)

    rotated = all_serials(rotations)
    for name, its in before.items():
        assert set(rotated[name]) == set(its)
        assert all(rotated[name][one] != serial for one, serial in its.items())
    assert all(rotations.served(host) != served[host.name] for host in planes.hosts)
    now = made.show()
    assert (now["endpoint"], now["status"], now["version"]) == (
        kept["endpoint"],
        "ready",
        kept["version"] + 1,
    )
    assert now["credential_expires_at"] > kept["credential_expires_at"], "the kubeconfig was fetched anew"
    access = made.site.admin.get(f"/deploy/targets/{target}")["cluster_access"]
    assert access["ok"] and access["checked_at"] > looked_at
    assert planes.nodes() == {host.name: True for host in planes.hosts}
    release = made.release("on-three")
    assert release["lifecycle_state"] == "applied", release["diagnostics_json"]


def test_one_that_dies_on_the_second_leaves_the_first_and_the_third_whole(planes: Planes) -> None:
    rotations, (first, second, third) = planes.rotations, planes.in_turn
    before = all_serials(rotations)
    task_id = rotations.start(rotations.preview())
    rotations.until_away("kube-apiserver", second)
    lock = json.loads(second.exec(["cat", "/var/lib/tidegate/environment.lock"]).stdout)
    second.exec(["kill", "-KILL", str(lock["pid"])])
    task = rotations.ended(task_id)
    assert task["state"] == "failed" and second.name in task["diagnostics_json"]["summary"]
    assert not statuses(task, third), "the third was not touched"
    made, one = planes.made, first.name
    assert made.site.admin.post(f"/clusters/{made.id}/connect/test", {})["reachable"], "the cluster serves on"
    half = all_serials(rotations)
    assert all(half[one][name] != serial for name, serial in before[one].items())
    assert half[third.name] == before[third.name]

    made.site.admin.post(f"{rotations.path}/rotate/tasks/{task_id}/retry")
    done = rotations.ended(task_id, SECONDS)
    assert done["state"] == "succeeded", done["diagnostics_json"]
    after = all_serials(rotations)
    assert after[one] == half[one], "what was done is not done again"
    for host in (second, third):
        assert all(after[host.name][name] != serial for name, serial in before[host.name].items())
    assert planes.nodes() == {host.name: True for host in planes.hosts}


def test_a_control_plane_of_ours_that_is_killed_meanwhile_takes_it_up(planes: Planes) -> None:
    rotations, (first, second, third) = planes.rotations, planes.in_turn
    before = all_serials(rotations)
    task_id = rotations.start(rotations.preview())
    rotations.until_away("kube-apiserver", second)
    served = rotations.served(first)
    planes.killable.die()
    planes.killable.come_back()
    done = rotations.ended(task_id, SECONDS)
    assert done["state"] == "succeeded", done["diagnostics_json"]
    assert "resumed" in rotations.told(task_id)
    assert rotations.served(first) == served, "what was done is not done again"
    after = all_serials(rotations)
    for name, its in before.items():
        assert all(after[name][one] != serial for one, serial in its.items())
    for host in (first, second, third):
        claim = host.exec(["cat", "/var/lib/tidegate/environment.lock"]).stdout
        assert '"until": 0' in claim, "the host is free again"
    assert planes.nodes() == {host.name: True for host in planes.hosts}
