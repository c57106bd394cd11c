# SPDX-License-Identifier: Apache-2.0
"""A cluster of one bare host, ordered through the API: built once, for all tests that need one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tests.conformance.site import Service, Site
from tests.installs.environment import Environment
from tests.lab import LabHost, kubeadm

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


@dataclass
class MadeCluster:
    """The host, its environment, the order as it was answered, and the task that made it."""

    site: Site
    host: LabHost
    environment: Environment
    ordered: dict[str, Any]
    task: dict[str, Any]

    @classmethod
    def build(cls, site: Site, host: LabHost, name: str = "made") -> MadeCluster:
        """Order it, apply the preview, wait for the end."""
        kubeadm.prepare(host)
        ordered = site.admin.post(
            "/clusters",
            {
                "project_id": site.project_id, "name": name, "stage": "development", "inputs": kubeadm.INPUTS,
                "nodes": [{"host_id": site.register(host), "role": "control_plane"}],
            },
        )  # fmt: skip
        environment = Environment(site, str(ordered["environment"]["id"]), [host])
        preview = environment.when(ordered["install"]["task_id"], lambda task: task["status"] != "previewing")
        task = environment.ended(environment.apply(preview)["task_id"], 900)
        assert task["state"] == "succeeded", task["diagnostics_json"]
        return cls(site, host, environment, ordered, task)

    @cached_property
    def id(self) -> str:
        return str(self.environment.show()["cluster_id"])

    def show(self) -> dict[str, Any]:
        return dict(self.site.admin.get(f"/clusters/{self.id}"))

    @cached_property
    def target(self) -> str:
        """A target in its default namespace."""
        made = self.site.admin.post(
            "/deploy/targets",
            {
                "project_id": self.site.project_id, "name": "on-made", "environment_id": self.environment.id,
                "cluster_id": self.id, "namespace": "default",
            },
        )  # fmt: skip
        return str(made["id"])

    @cached_property
    def service(self) -> Service:
        return self.site.service("k8s")

    def release(self, version: str) -> dict[str, Any]:
        """Release a version of a service whose pods say which it is, and return how that ended."""
        template = WEB.replace("labels: {app: web}", f'labels: {{app: web, version: "{version}"}}')
        body = {"version": version, "template": template, "health_timeout": 120}
        self.site.admin.post(f"/services/{self.service.id}/versions", body)
        return self.service.release(self.target, version)
