# SPDX-License-Identifier: Apache-2.0
"""A cluster gets a worker through the API, and loses it again: shown before, told step by step, never silent."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.automation.environment import left_behind, moved
from tests.conformance.site import Site
from tests.demo.rest import Refused
from tests.installs.environment import Environment, statuses
from tests.lab import LabHost, kubeadm

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.xdist_group("lab-bundle"),
    pytest.mark.timeout(2400),
    pytest.mark.skipif(bool(kubeadm.why_not()), reason=kubeadm.why_not()),
]
SECONDS = 900
# One pod that runs on the worker alone, and that nothing may take away.
HELD = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: default}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      automountServiceAccountToken: false
      terminationGracePeriodSeconds: 1
      nodeSelector: {kubernetes.io/hostname: WORKER}
      containers:
      - {name: web, image: "tidegate-test:1", imagePullPolicy: Never}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web, namespace: default}
spec:
  minAvailable: 1
  selector: {matchLabels: {app: web}}
"""


def kubectl(plane: LabHost, *words: str, given: str | None = None) -> None:
    plane.exec(["kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf", *words], input=given)


def test_a_worker_comes_and_goes(site: Site, bare: Callable[[str], LabHost]) -> None:
    # The worker's name is the first of the alphabet: it begins no cluster of its own.
    plane, worker = bare("z-plane"), bare("a-worker")
    for host in (plane, worker):
        kubeadm.prepare(host)
    before = left_behind(worker)
    nodes = [{"host_id": site.register(plane), "role": "control_plane"}]
    environment = Environment.make(site, stage="development", runtime_type="k8s")
    site.admin.put(f"{environment.path}/nodes", nodes)
    task = environment.ended(
        environment.apply(environment.preview(inputs=kubeadm.INPUTS))["task_id"], SECONDS
    )
    assert task["state"] == "succeeded", task["diagnostics_json"]

    joining = {"host_id": site.register(worker), "role": "worker"}
    site.admin.put(f"{environment.path}/nodes", [*nodes, joining])
    preview = environment.preview(inputs=kubeadm.INPUTS)
    plans = {
        host.name: {one["step"]: one["action"] for one in preview["preview"]["hosts"][host.name]["plan"]}
        for host in (plane, worker)
    }
    assert set(plans[worker.name].values()) == {"run"}
    assert plans[plane.name]["control_plane_init"] == "done"
    task = environment.ended(environment.apply(preview)["task_id"], SECONDS)
    assert task["state"] == "succeeded", task["diagnostics_json"]
    assert statuses(task, worker)["worker_join"] == "succeeded"
    changed = {name for name, one in statuses(task, plane).items() if one == "succeeded"}
    assert changed == {"cluster_network"}
    cluster = environment.show()["cluster_id"]

    with pytest.raises(Refused, match="would leave the cluster"):
        site.admin.put(f"{environment.path}/nodes", nodes)
    kubectl(plane, "apply", "-f", "-", given=HELD.replace("WORKER", worker.name))
    kubectl(plane, "rollout", "status", "deployment/web", "--timeout=120s")
    preview = environment.preview("removal", host_ids=[joining["host_id"]], inputs={"drain_seconds": 5})
    shown = preview["preview"]["hosts"]
    assert [one["step"] for one in shown[plane.name]["plan"]][:2] == ["node_drain", "node_delete"]
    assert {one["action"] for one in shown[worker.name]["plan"]} == {"undo"}
    assert any("default/web lets none" in one["message"] for one in preview["preview"]["checks"])
    task = environment.ended(environment.apply(preview)["task_id"], SECONDS)
    assert (task["state"], task["diagnostics_json"]["error_key"]) == ("failed", "node_drain_failed")
    assert "default/web lets none" in task["diagnostics_json"]["summary"]
    assert statuses(task, worker).keys().isdisjoint({"worker_join", "kubernetes_node"})

    kubectl(plane, "delete", "poddisruptionbudget", "web")
    site.admin.post(f"{environment.path}/install/tasks/{task['task_id']}/retry")
    task = environment.ended(task["task_id"], SECONDS)
    assert task["state"] == "succeeded", task["diagnostics_json"]
    assert statuses(task, plane)["node_delete"] == "succeeded"
    assert statuses(task, worker)["worker_join"] == "succeeded"
    assert moved(worker, before) == {}
    left = environment.show()
    assert [node["name"] for node in left["nodes"]] == [plane.name]
    assert (left["status"], left["cluster_id"]) == ("ready", cluster)
    assert environment.health()["healthy"] is True
