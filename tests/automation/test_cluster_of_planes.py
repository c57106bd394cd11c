# SPDX-License-Identifier: Apache-2.0
"""Three control planes with stacked etcd: joined one after another, unchanged the second time, gone one by one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.automation import cluster_install
from tests.automation.cluster_install import TOKENS, cluster, is_ready, kubectl, nodes
from tests.automation.environment import left_behind, moved
from tests.lab import kubeadm
from tests.lab.host import LabHost
from tests.lab.lab import Lab

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.xdist_group("lab-bundle"),
    pytest.mark.timeout(2400),
    pytest.mark.skipif(bool(kubeadm.why_not()), reason=kubeadm.why_not()),
]
UNDONE = ("cluster_network", "kubernetes_node", "container_runtime")


@pytest.fixture
def planes(lab: Lab) -> Iterator[list[LabHost]]:
    # The first is not the first in the alphabet.
    made = [cluster_install.bare(lab, f"planes-{name}") for name in ("c", "a", "b")]
    yield made
    for host in made:
        host.remove()


def is_blocking(check: dict[str, Any]) -> bool:
    return bool(check["level"] == "blocking")


def members(host: LabHost) -> set[str]:
    """The names of etcd's members, as a control plane knows them."""
    pki = "/etc/kubernetes/pki/etcd"
    said = host.exec(
        [
            "curl", "--silent", "--show-error", "--fail", "--cacert", f"{pki}/ca.crt",
            "--cert", f"{pki}/healthcheck-client.crt", "--key", f"{pki}/healthcheck-client.key",
            "--data", "{}", "https://127.0.0.1:2379/v3/cluster/member/list",
        ]
    ).stdout  # fmt: skip
    return {one["name"] for one in json.loads(said)["members"]}


def test_three_control_planes(lab: Lab, planes: list[LabHost], tmp_path: Path) -> None:
    first = planes[0]
    environments = cluster(lab, tmp_path, *planes, planes=3)
    before = {host.name: left_behind(host) for host in planes}
    environments.run("install")
    found = nodes(tmp_path, first)
    assert {name: is_ready(one) for name, one in found.items()} == {host.name: True for host in planes}
    assert environments.statuses(first, "install")["control_plane_init"] == "succeeded"
    assert {environments.statuses(one, "install")["control_plane_join"] for one in planes[1:]} == {
        "succeeded"
    }
    # Without a worker, pods go to control planes.
    assert all("taints" not in one["spec"] for one in found.values())
    etcd = ("-n", "kube-system", "-l", "component=etcd")
    # The API tells that a pod is ready a little after it is.
    kubectl(tmp_path, first, "wait", "--for=condition=Ready", "pod", *etcd, "--timeout=60s")
    where = kubectl(tmp_path, first, "get", "pods", *etcd, "-o", "jsonpath={.items[*].spec.nodeName}")
    assert sorted(where.split()) == sorted(host.name for host in planes)
    # Neither a token stays, nor the certificates that were handed over.
    assert kubectl(tmp_path, first, *TOKENS, "-o", "name") == ""

    again = environments.run("install")
    assert again.stdout.count("changed=0") == 3, again.stdout

    # Named in another order, the second would begin a cluster of its own.
    other = [environments.spec["nodes"][number] for number in (1, 0, 2)]
    environments.run("preflight", nodes=other)
    said = {
        host.name: [
            one["message"] for one in environments.result(host, "preflight")["checks"] if is_blocking(one)
        ]
        for host in planes
    }
    assert "began its cluster, and would have to be one that joined" in said[first.name][0]
    assert "joined as a control plane, and would have to be one that began" in said[planes[1].name][0]
    assert environments.run("install", check=False, nodes=other).returncode != 0
    assert set(nodes(tmp_path, first)) == {host.name for host in planes}

    environments.run("rollback")
    assert {host.name: moved(host, before[host.name]) for host in planes} == {
        host.name: {} for host in planes
    }


def test_control_planes_leave_while_etcd_has_a_majority(
    lab: Lab, planes: list[LabHost], tmp_path: Path
) -> None:
    first, lost, away = planes
    environments = cluster(lab, tmp_path, *planes, planes=3)
    before = left_behind(away)
    environments.run("install")
    stays = environments.run("preflight", check=False, remove=[first.name])
    assert "the control plane that the cluster began with" in stays.stdout

    lost.kill()
    options = ["--limit", f"!{lost.name}"]
    environments.run("preflight", options=options, remove=[away.name])
    [check] = [one for one in environments.result(first, "preflight")["checks"] if is_blocking(one)]
    assert check["code"] == "insufficient_nodes"
    assert f"of etcd's 3 members {lost.name} does not answer" in check["message"]
    # Not even a pod is moved.
    assert environments.run("remove_nodes", check=False, options=options, remove=[away.name]).returncode != 0
    assert not any(one["spec"].get("unschedulable") for one in nodes(tmp_path, first).values())

    environments.run("remove_nodes", options=options, remove=[lost.name], lost=True)
    assert set(nodes(tmp_path, first)) == members(first) == {first.name, away.name}
    environments.spec["nodes"] = [one for one in environments.spec["nodes"] if one["host"] != lost.name]

    shown = environments.run("preflight", options=options, remove=[away.name])
    assert "failed=0" in shown.stdout
    plan = environments.result(away, "preflight")["plan"]
    assert [one["step"] for one in plan] == ["control_plane_join", *UNDONE]
    environments.run("remove_nodes", options=options, remove=[away.name])
    assert set(nodes(tmp_path, first)) == members(first) == {first.name}
    assert environments.statuses(away, "rollback") == dict.fromkeys(
        ("control_plane_join", *UNDONE), "succeeded"
    )
    assert moved(away, {**before}) == {}
    assert is_ready(nodes(tmp_path, first)[first.name])

    environments.spec["nodes"] = environments.spec["nodes"][:1]
    alone = environments.run("install", options=["--limit", first.name])
    assert "changed=0" in alone.stdout, alone.stdout
