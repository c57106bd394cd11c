# SPDX-License-Identifier: Apache-2.0
"""A bare host becomes a cluster through the API, is released to, and is bare again."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conformance.site import Site
from tests.installs.environment import Environment, statuses
from tests.lab import LabHost, kubeadm

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.xdist_group("lab-bundle"),
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(kubeadm.why_not()), reason=kubeadm.why_not()),
]
# The bundle's own test image: it came with the install.
WEB = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      automountServiceAccountToken: false
      containers:
      - {name: web, image: "tidegate-test:1", imagePullPolicy: Never}
"""


def test_a_bare_host_to_a_cluster_to_a_release(site: Site, bare: Callable[[str], LabHost]) -> None:
    host = bare("plane")
    kubeadm.prepare(host)
    ordered = site.admin.post(
        "/clusters",
        {
            "project_id": site.project_id, "name": "made", "stage": "development", "inputs": kubeadm.INPUTS,
            "nodes": [{"host_id": site.register(host), "role": "control_plane"}],
        },
    )  # fmt: skip
    assert (ordered["environment"]["runtime_type"], ordered["environment"]["status"]) == ("k8s", "draft")
    environment = Environment(site, str(ordered["environment"]["id"]), [host])
    preview = environment.when(ordered["install"]["task_id"], lambda task: task["status"] != "previewing")
    task = environment.ended(environment.apply(preview)["task_id"], 900)
    assert task["state"] == "succeeded", task["diagnostics_json"]
    assert statuses(task, host)["control_plane_init"] == "succeeded"

    shown = environment.show()
    assert shown["status"] == "ready"
    cluster = site.admin.get(f"/clusters/{shown['cluster_id']}")
    assert (cluster["name"], cluster["mode"], cluster["status"]) == ("made", "platform_managed", "ready")
    assert cluster["endpoint"] == f"https://{host.address}:6443"
    tested = site.admin.post(f"/clusters/{cluster['id']}/connect/test", {})
    assert tested["reachable"] and tested["server_version"].startswith("v1.36")
    assert tested["lacking"] == []

    target = site.admin.post(
        "/deploy/targets",
        {
            "project_id": site.project_id, "name": "on-made", "environment_id": environment.id,
            "cluster_id": cluster["id"], "namespace": "default",
        },
    )  # fmt: skip
    service = site.service("k8s")
    body = {"version": "1", "template": WEB, "health_timeout": 120}
    site.admin.post(f"/services/{service.id}/versions", body)
    release = service.release(target["id"], "1")
    assert release["lifecycle_state"] == "applied", release["diagnostics_json"]

    again = environment.install(inputs=kubeadm.INPUTS)
    assert again["state"] == "succeeded", again["diagnostics_json"]
    assert set(statuses(again, host).values()) == {"unchanged"}
    assert environment.show()["cluster_id"] == cluster["id"]
    assert environment.health()["healthy"] is True
