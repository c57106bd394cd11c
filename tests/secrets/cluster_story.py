# SPDX-License-Identifier: Apache-2.0
"""What is done with a cluster: brought in by a token, released to with secrets in its manifests, and refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx

from tests.conformance.runtimes import OnApiServer
from tests.lab.kube import KubeApi
from tests.lab.kube_credentials import token_of
from tests.secrets.installation import Installation

# Secrets wherever a manifest may have them; anywhere else a version is refused.
TEMPLATE = """\
apiVersion: v1
kind: Secret
metadata: {name: canary}
stringData:
  password: "{{ password }}"
  url: "postgres://shop:{{ password }}@db/shop"
---
apiVersion: v1
kind: ConfigMap
metadata: {name: canary}
data: {note: "it is {{ note }}"}
"""
NEVER_READY = """\
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: canary}
spec:
  selector: {matchLabels: {app: canary}}
  template:
    metadata: {labels: {app: canary}}
    spec:
      containers: [{name: web, image: "shop:1", env: [{name: PASSWORD, value: "{{ password }}"}]}]
"""
VARIABLES = {name: {"type": "string", "secret": True, "required": True} for name in ("password", "note")}


READING = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list"]}


class WatchedServer(OnApiServer):
    """An API server whose credentials are canaries, and may read in all namespaces."""

    def __init__(self, its: Installation, api: KubeApi) -> None:
        self._canaries = its.canaries
        super().__init__(its.site, api)

    def kubeconfig(self, namespace: str) -> Path:
        path = self._api.kubeconfig_for("deployer", namespace, self.rules(), cluster_rules=[READING])
        self._canaries.watch(f"token {path.name}", token_of(path.read_text())[-24:])
        return path


class ClusterStory:
    """What happens on a cluster; `tell` lets it happen. `releases` are those that came to an end."""

    def __init__(self, its: Installation, api: KubeApi) -> None:
        self._its = its
        self._plant = its.canaries.plant
        self._on = WatchedServer(its, api)
        self.releases: dict[str, dict[str, Any]] = {}

    def tell(self) -> None:
        """Read, change and test the cluster; release to it, fail on it, go back; be refused another credential."""
        target = self._on.target("canary")
        service = self._on.service()
        service.add("1", TEMPLATE, variable_schema=VARIABLES)
        service.add("2", TEMPLATE + NEVER_READY, variable_schema=VARIABLES, health_timeout=5)
        for version, end in (("1", "applied on a cluster"), ("2", "failed on a cluster")):
            names = {name: self._plant(f"{name} that {end}") for name in VARIABLES}
            preview = service.preview(target, version, variables=names)
            self.releases[end] = service.apply(preview)
        self.releases["rollback on a cluster"] = service.rollback(self.releases["failed on a cluster"])
        self._be_refused()
        path = f"/clusters/{self._on.cluster_id}"
        assert self._its.site.admin.post(f"{path}/connect/test")["reachable"]

    def _be_refused(self) -> None:
        """A credential that the cluster does not know, and one that names a program to run, are said nowhere."""
        document = json.loads(self._on.kubeconfig(self._on.namespace).read_text())
        unknown = {"token": self._plant("a token nobody knows", awkward=False)}
        program = {"exec": {"command": "get-token", "args": [self._plant("an argument of a program")]}}
        login = {"Authorization": f"Bearer {self._its.site.admin.token}"}
        for name, user in (("unknown", unknown), ("program", program)):
            document["users"][0]["user"] = user
            body = {"project_id": self._its.site.project_id, "name": name, "kubeconfig": json.dumps(document)}
            url = f"{self._its.url}/api/v1/clusters/import/kubeconfig"
            answer = httpx.post(url, json=body, headers=login, timeout=60)
            assert 400 <= answer.status_code < 500, answer.text
            assert not self._its.canaries.seen(url, answer.content), answer.text
