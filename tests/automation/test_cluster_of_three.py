# SPDX-License-Identifier: Apache-2.0
"""A control plane and its workers: joined, told apart, added and taken out, from the bundle alone."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.automation import cluster_install
from tests.automation.cluster_install import TOKENS, cluster, is_ready, kubeconfig, kubectl, nodes
from tests.automation.environment import Environments, left_behind, moved
from tests.lab import kube_assets, kubeadm
from tests.lab.host import LabHost
from tests.lab.lab import Lab

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.xdist_group("lab-bundle"),
    pytest.mark.timeout(2400),
    pytest.mark.skipif(bool(kubeadm.why_not()), reason=kubeadm.why_not()),
]
PODS = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      automountServiceAccountToken: false
      terminationGracePeriodSeconds: 1
      nodeSelector: {disk: fast}
      tolerations: [{key: kept, operator: Exists}]
      containers:
      - {name: web, image: "tidegate-test:1", imagePullPolicy: Never}
"""
BUDGET = """\
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec:
  minAvailable: 2
  selector: {matchLabels: {app: web}}
"""
UNDONE = ("worker_join", "cluster_network", "kubernetes_node", "container_runtime")
TOKEN = "{.data.token-id}.{.data.token-secret}{'\\n'}"
# What the database keeps of a token is what it keeps of any deleted object; images and programs hold none.
SEARCHED = (
    "/etc",
    "/run",
    "/root",
    "/tmp",
    "/home",
    "/opt",
    "/var/lib/kubelet",
    "/var/lib/tidegate",
    "/var/log",
)


@dataclass
class Three:
    """Hosts of one cluster, and what runs playbooks against them."""

    folder: Path
    plane: LabHost
    worker: LabHost
    spare: LabHost
    of_two: Environments
    of_three: Environments
    before: dict[str, list[str]]


@pytest.fixture(scope="module")
def three(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Three]:
    folder = tmp_path_factory.mktemp("three")
    hosts = [cluster_install.bare(lab, f"three-{name}") for name in ("plane", "worker", "spare")]
    inputs = {
        "node_labels": {hosts[0].name: {"disk": "fast"}, hosts[1].name: {"disk": "fast"}},
        "node_taints": {hosts[1].name: ["kept=yes:NoSchedule"]},
    }
    two, all_three = (
        cluster(lab, _made(folder / name), *chosen, inputs=inputs)
        for name, chosen in (("two", hosts[:2]), ("all", hosts))
    )
    yield Three(folder, *hosts, two, all_three, left_behind(hosts[2]))
    for host in hosts:
        host.remove()


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


@contextmanager
def tokens_seen(folder: Path, plane: LabHost) -> Iterator[list[str]]:
    """The tokens that are in the cluster while this lasts; the list is filled at the end."""
    argv = [str(kube_assets.program("kubectl")), "--kubeconfig", str(kubeconfig(folder, plane)), *TOKENS]
    found: list[str] = []
    with (folder / "seen").open("w+") as kept:
        watch = subprocess.Popen([*argv, "--watch", "-o", f"jsonpath={TOKEN}"], stdout=kept)
        try:
            yield found
        finally:
            watch.terminate()
            watch.wait()
        kept.seek(0)
        for line in set(kept.read().splitlines()):
            found.append(".".join(base64.b64decode(part).decode() for part in line.split(".")))
    (folder / "seen").unlink()


def with_in_it(host: LabHost, words: list[str]) -> str:
    """Files of a host, and lines of its journal, with one of these words in them."""
    patterns = [part for word in words for part in ("-e", word)]
    files = host.exec(["grep", "-rlaF", "-D", "skip", *patterns, *SEARCHED], check=False).stdout
    lines = host.exec(["sh", "-c", 'journalctl | grep -aF "$@"', "-", *patterns], check=False).stdout
    return files + lines


def test_a_control_plane_and_a_worker_become_ready_and_stay_as_they_are(three: Three) -> None:
    folder, hosts = three.folder / "two", (three.plane, three.worker)
    before = {host.name: left_behind(host) for host in hosts}
    three.of_two.run("install", options=["--check"])
    promised = {host.name: three.of_two.statuses(host, "install") for host in hosts}
    assert {host.name: moved(host, before[host.name]) for host in hosts} == {host.name: {} for host in hosts}

    three.of_two.run("install")
    assert {host.name: three.of_two.statuses(host, "install") for host in hosts} == promised
    found = nodes(folder, three.plane)
    assert {name: is_ready(one) for name, one in found.items()} == {
        three.plane.name: True,
        three.worker.name: True,
    }
    assert three.of_two.statuses(three.worker, "install")["worker_join"] == "succeeded"
    plane, worker = found[three.plane.name], found[three.worker.name]
    assert (plane["metadata"]["labels"]["disk"], worker["metadata"]["labels"]["disk"]) == ("fast", "fast")
    assert worker["spec"]["taints"] == [{"key": "kept", "value": "yes", "effect": "NoSchedule"}]
    assert [one["key"] for one in plane["spec"]["taints"]] == ["node-role.kubernetes.io/control-plane"]

    again = three.of_two.run("install")
    assert again.stdout.count("changed=0") == 2, again.stdout
    for host in hosts:
        assert set(three.of_two.statuses(host, "install").values()) == {"unchanged"}


def test_a_worker_that_is_added_joins_and_what_let_it_in_is_nowhere(three: Three) -> None:
    folder = three.folder / "all"
    (folder / f"{three.plane.name}.cluster.json").write_bytes(
        (three.folder / "two" / f"{three.plane.name}.cluster.json").read_bytes()
    )
    with tokens_seen(folder, three.plane) as seen:
        three.of_three.run("install")
    assert all(is_ready(one) for one in nodes(folder, three.plane).values())
    assert set(nodes(folder, three.plane)) == {three.plane.name, three.worker.name, three.spare.name}
    # Those that were there are told of the new one's pods, and of nothing else.
    for host in (three.plane, three.worker):
        statuses = three.of_three.statuses(host, "install")
        assert {name for name, one in statuses.items() if one != "unchanged"} == {"cluster_network"}
    assert set(three.of_three.statuses(three.spare, "install").values()) == {"succeeded"}

    assert seen
    assert (
        kubectl(
            folder,
            three.plane,
            *TOKENS,
            "--field-selector",
            "type=bootstrap.kubernetes.io/token",
            "-o",
            "name",
        )
        == ""
    )
    secrets = [word.partition(".")[2] for word in seen]
    for host in (three.plane, three.worker, three.spare):
        assert with_in_it(host, secrets) == ""
    kept = [path for path in three.folder.rglob("*") if path.is_file()]
    assert not [path for path in kept if any(word in path.read_text(errors="replace") for word in secrets)]


def test_pods_reach_each_other_where_they_were_let(three: Three) -> None:
    folder = three.folder / "all"
    kubectl(folder, three.plane, "apply", "-f", "-", given=PODS)
    kubectl(folder, three.plane, "rollout", "status", "deployment/web", "--timeout=120s")
    fields = "{range .items[*]}{.spec.nodeName} {.status.podIP}{'\\n'}{end}"
    told = kubectl(folder, three.plane, "get", "pods", "-l", "app=web", "-o", f"jsonpath={fields}")
    where = [line.split() for line in told.splitlines()]
    assert {node for node, _ in where} == {three.worker.name}
    for _, address in where:
        for host in (three.plane, three.spare):
            assert (
                host.run(["curl", "-sS", "-m", "5", f"http://{address}:8080/"]).stdout.strip()
                == "tidegate-test 1"
            )


def test_a_worker_leaves_once_its_pods_are_elsewhere(three: Three) -> None:
    folder, away, stays = three.folder / "all", three.spare, (three.plane, three.worker)
    kubectl(folder, three.plane, "label", "node", away.name, "disk=fast")
    kubectl(folder, three.plane, "taint", "node", three.worker.name, "full=yes:NoSchedule")
    kubectl(folder, three.plane, "delete", "pods", "-l", "app=web", "--wait")
    kubectl(folder, three.plane, "rollout", "status", "deployment/web", "--timeout=120s")
    kubectl(folder, three.plane, "apply", "-f", "-", given=BUDGET)
    assert where_pods_are(folder, three.plane) == {away.name}

    spec = {"remove": [away.name], "inputs": {"drain_seconds": 15}}
    three.of_three.run("preflight", **spec)
    shown = three.of_three.result(three.plane, "preflight")
    assert [one["step"] for one in shown["plan"]] == ["node_drain", "node_delete", "cluster_network"]
    assert any("default/web lets none of its pods go" in one["message"] for one in shown["checks"])
    assert len(shown["facts"]["pods_to_move"]) == 2
    leaves = three.of_three.result(away, "preflight")["plan"]
    assert [(one["step"], one["action"]) for one in leaves] == [(step, "undo") for step in UNDONE]

    failed = three.of_three.run("remove_nodes", check=False, **spec)
    assert failed.returncode != 0
    told = three.of_three.result(three.plane, "install")
    assert told["error_key"] == "node_drain_failed"
    assert told["steps"][-1]["detail"]["held_by"] == ["default/web"]
    assert len(told["steps"][-1]["detail"]["pods"]) == 2
    assert nodes(folder, three.plane)[away.name]["spec"]["unschedulable"] is True

    # A node that was to leave and stays is given back by the next install.
    three.of_three.run("install")
    assert "unschedulable" not in nodes(folder, three.plane)[away.name]["spec"]

    kubectl(folder, three.plane, "delete", "poddisruptionbudget", "web")
    kubectl(folder, three.plane, "taint", "node", three.worker.name, "full-")
    three.of_three.run("remove_nodes", **spec)
    assert set(nodes(folder, three.plane)) == {host.name for host in stays}
    assert three.of_three.statuses(away, "rollback") == dict.fromkeys(UNDONE, "succeeded")
    assert moved(away, three.before) == {}
    for host in stays:
        assert away.address not in host.exec(["ip", "route"]).stdout
    kubectl(folder, three.plane, "rollout", "status", "deployment/web", "--timeout=120s")
    assert where_pods_are(folder, three.plane) == {three.worker.name}
    again = three.of_three.run("remove_nodes", **spec)
    assert again.stdout.count("changed=0") == 3, again.stdout


def test_one_that_left_comes_back_and_is_taken_out_when_it_is_lost(three: Three) -> None:
    folder = three.folder / "all"
    three.of_three.run("install")
    assert is_ready(nodes(folder, three.plane)[three.spare.name])
    three.spare.kill()
    spec = {"remove": [three.spare.name], "lost": True, "inputs": {"drain_seconds": 15}}
    options = ["--limit", f"!{three.spare.name}"]
    three.of_three.run("preflight", options=options, **spec)
    checks = three.of_three.result(three.plane, "preflight")["checks"]
    assert any(f"nothing is undone on {three.spare.name}" in one["message"] for one in checks)
    three.of_three.run("remove_nodes", options=options, **spec)
    assert set(nodes(folder, three.plane)) == {three.plane.name, three.worker.name}
    for host in (three.plane, three.worker):
        assert three.spare.address not in host.exec(["ip", "route"]).stdout


def where_pods_are(folder: Path, plane: LabHost) -> set[str]:
    fields = "{range .items[*]}{.spec.nodeName}{'\\n'}{end}"
    told = kubectl(folder, plane, "get", "pods", "-l", "app=web", "-o", f"jsonpath={fields}")
    return set(told.split())
