# SPDX-License-Identifier: Apache-2.0
"""The runtimes that the suite is held against: what is released there, and what is seen of it behind Tidegate's back.

A service's application has parts (`web`, `side`) of one image; its version is the image's tag, and an image whose
tag has `bad` in it never gets healthy.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from controlplane.domain.cluster import NEEDED
from tests.conformance.site import ComposeHosts, Service, Site, compose
from tests.lab import LabHost
from tests.lab.kube import KubeApi
from tests.lab.kube_cluster import KubeCluster
from tests.lab.lab import Lab

NEVER_HEALTHY_SECONDS = 8


class Runtime(Protocol):
    """Where an application is released, and what is seen there."""

    name: str
    # Error key and failure domain of an application that does not get healthy.
    unhealthy: tuple[str, str]

    def application(self) -> Application:
        """Return a new application with a target of its own; all of them share one host or namespace."""
        ...

    def add(
        self, its: Application, version: str, parts: Sequence[str], tags: Sequence[str], **rest: Any
    ) -> None:
        """Add a version of the application. The first part is reached by `answer`."""
        ...

    def values(self, its: Application, tag: str) -> dict[str, Any]:
        """Return the variables with which this tag is released."""
        ...

    def running(self, its: Application) -> dict[str, str]:
        """Return what runs: part -> an identity that changes when the part is made anew."""
        ...

    def answer(self, its: Application) -> str:
        """Return what the first part says to who asks it."""
        ...

    def remove(self, its: Application, part: str) -> None:
        """Take a part away behind Tidegate's back."""
        ...

    def never_healthy(self, its: Application, version: str, tag: str) -> None:
        """Add a version that takes two minutes to be given up."""
        ...


class Application:
    """A service, its target, and the usual way with them."""

    def __init__(self, runtime: Runtime, service: Service, target: str, port: int) -> None:
        self.runtime, self.service, self.target, self.port = runtime, service, target, port

    def add(self, version: str, *parts: str, tags: Sequence[str], **rest: Any) -> None:
        """Add a version."""
        self.runtime.add(self, version, parts, tags, **rest)

    def preview(self, version: str, tag: str, **asked: Any) -> dict[str, Any]:
        """Preview a tag."""
        values = self.runtime.values(self, tag)
        return self.service.preview(self.target, version, variables=values, **asked)

    def release(self, version: str, tag: str, **asked: Any) -> dict[str, Any]:
        """Preview, apply, wait."""
        return self.service.apply(self.preview(version, tag, **asked))

    def running(self) -> dict[str, str]:
        """Return what runs of it."""
        return self.runtime.running(self)

    def answer(self) -> str:
        """Return what it says."""
        return self.runtime.answer(self)


class OnCompose:
    """Docker Compose on one host of the lab."""

    name = "compose"
    unhealthy = ("compose_unhealthy", "health")

    def __init__(self, site: Site, shared: tuple[LabHost, str]) -> None:
        self._site = site
        self._host, self._host_id = shared
        self._seen = ComposeHosts()
        self._port = 8100

    def application(self) -> Application:
        self._port += 1
        return Application(self, self._site.service(), self._site.target(self._host_id), self._port)

    def add(
        self, its: Application, version: str, parts: Sequence[str], tags: Sequence[str], **rest: Any
    ) -> None:
        its.service.add(version, compose(*parts), tags, **rest)

    def values(self, its: Application, tag: str) -> dict[str, Any]:
        return {"tag": tag, "port": its.port}

    def running(self, its: Application) -> dict[str, str]:
        return self._seen.running(self._host, its.service)

    def answer(self, its: Application) -> str:
        return self._seen.answer(self._host, its.port)

    def remove(self, its: Application, part: str) -> None:
        self._host.run(["docker", "rm", "-f", self.running(its)[part]])

    def never_healthy(self, its: Application, version: str, tag: str) -> None:
        template = compose("web", port=False, retries=100, interval="2s")
        its.service.add(version, template, [tag], health_timeout=120)


DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: %(name)s}
spec:
  replicas: {{ replicas }}
  selector: {matchLabels: {app: %(name)s}}
  template:
    metadata: {labels: {app: %(name)s}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: web
        image: "shop:{{ tag }}"
        readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1}
"""
FRONT = """\
apiVersion: v1
kind: Service
metadata: {name: %(name)s}
spec:
  type: NodePort
  selector: {app: %(name)s}
  ports: [{port: 80, targetPort: 8080}]
"""
VARIABLES = {
    "tag": {"type": "string", "default": "1"},
    "replicas": {"type": "integer", "default": 1},
    "port": {"type": "integer", "default": 0},
}


class OnApiServer:
    """An API server without a node: what needs no pod is ready at once, what needs one never is."""

    name = "k8s-api"
    unhealthy = ("rollout_timeout", "timeout")

    def __init__(self, site: Site, api: KubeApi) -> None:
        self._site, self._api = site, api
        self.namespace = api.new_namespace()
        self.environment_id = self._environment("development")
        self.cluster_id = self.cluster(self.namespace)

    def cluster(self, namespace: str, name: str | None = None, endpoint: str | None = None,
                server_name: str | None = None) -> str:  # fmt: skip
        """Import the cluster, also at another endpoint than its own, which then shows the name of its server."""
        text = self.kubeconfig(namespace).read_text()
        if endpoint:
            document = json.loads(text)
            document["clusters"][0]["cluster"] |= {"server": endpoint, "tls-server-name": server_name}
            text = json.dumps(document)
        body = {
            "project_id": self._site.project_id,
            "name": name or f"{self.name}-{namespace}",
            "kubeconfig": text,
        }
        return str(self._site.admin.post("/clusters/import/kubeconfig", body)["id"])

    def kubeconfig(self, namespace: str) -> Path:
        """Return a credential that may do what a release needs in a namespace, and nothing else."""
        return self._api.kubeconfig_for("deployer", namespace, self.rules())

    @staticmethod
    def rules() -> list[dict[str, Any]]:
        """Return, as RBAC rules, what a release needs."""
        return [
            {
                "apiGroups": [one.group],
                "resources": [f"{one.resource}/{one.subresource}" if one.subresource else one.resource],
                "verbs": [one.verb],
            }
            for one in NEEDED
        ]

    def _environment(self, stage: str) -> str:
        name = f"{self.name}-{self.namespace}-{stage}"
        body = {"project_id": self._site.project_id, "name": name, "stage": stage, "runtime_type": "k8s"}
        return str(self._site.admin.post("/environments", body)["id"])

    def target(self, name: str, cluster_id: str | None = None, **more: Any) -> str:
        """Make a target in the namespace."""
        place = {"environment_id": self.environment_id, "cluster_id": cluster_id or self.cluster_id}
        body = {
            "project_id": self._site.project_id,
            "name": name,
            "namespace": self.namespace,
            **place,
            **more,
        }
        return str(self._site.admin.post("/deploy/targets", body)["id"])

    def service(self) -> Service:
        """Make a service for Kubernetes, without versions."""
        return self._site.service("k8s")

    def application(self) -> Application:
        service = self.service()
        return Application(self, service, self.target(f"on-{service.name}"), 0)

    def add(
        self, its: Application, version: str, parts: Sequence[str], tags: Sequence[str], **rest: Any
    ) -> None:
        names = [{"name": f"{its.service.name}-{part}"} for part in parts]
        texts = [DEPLOYMENT % name for name in names] + [FRONT % names[0]]
        self.load(tags)
        # Of a bad one it is known soon enough.
        seconds = NEVER_HEALTHY_SECONDS if any("bad" in tag for tag in tags) else 60
        more = {"health_timeout": seconds, "variable_schema": VARIABLES, **rest}
        its.service.add(version, "---\n".join(texts), **more)

    def load(self, tags: Sequence[str]) -> None:
        """Have the images of these tags where pods would run."""

    def values(self, its: Application, tag: str) -> dict[str, Any]:
        return {"tag": tag, "replicas": 1 if "bad" in tag else 0}

    def running(self, its: Application) -> dict[str, str]:
        """Return the parts and the revision of their pods."""
        found = self.get("deployments")["items"]
        named = {one["metadata"]["name"].removeprefix(f"{its.service.name}-"): one for one in found
                 if one["metadata"]["name"].startswith(f"{its.service.name}-")}  # fmt: skip
        return {part: f"{one['metadata']['uid']} {self.revision(one)}" for part, one in named.items()}

    @staticmethod
    def revision(deployment: dict[str, Any]) -> str:
        """Return which pods a Deployment has."""
        return str(deployment["spec"]["template"]["spec"]["containers"][0]["image"])

    def answer(self, its: Application) -> str:
        one = self.get("deployment", f"{its.service.name}-web")
        return self.revision(one).replace(":", " ")

    def remove(self, its: Application, part: str) -> None:
        self.kubectl("delete", "deployment", f"{its.service.name}-{part}")

    def never_healthy(self, its: Application, version: str, tag: str) -> None:
        self.add(its, version, ["web"], [tag], health_timeout=120)

    def kubectl(self, *words: str) -> None:
        """Do something in the namespace behind Tidegate's back."""
        self._api.kubectl([*words, "-n", self.namespace])

    def get(self, *words: str) -> Any:
        """Return what kubectl says of something in the namespace."""
        return json.loads(self._api.kubectl(["get", *words, "-n", self.namespace, "-o", "json"]).stdout)


class OnCluster(OnApiServer):
    """A cluster with a node that runs the pods."""

    name = "k8s"

    def __init__(self, site: Site, cluster: KubeCluster, lab: Lab) -> None:
        self._cluster, self._lab = cluster, lab
        super().__init__(site, cluster.api)

    def load(self, tags: Sequence[str]) -> None:
        for tag in tags:
            self._cluster.load(self._lab.app_archive(tag, healthy="bad" not in tag))

    def values(self, its: Application, tag: str) -> dict[str, Any]:
        return {"tag": tag, "replicas": 1}

    def answer(self, its: Application) -> str:
        """Return what the node's port answers. Right after pods went, the node's rules may still be of before."""
        port = self.get("service", f"{its.service.name}-web")["spec"]["ports"][0]["nodePort"]
        url = f"http://{self._cluster.node.address}:{port}/"
        end = time.monotonic() + 10
        while True:
            said = self._cluster.node.exec(["curl", "-sS", "-m", "2", url], check=False).stdout.strip()
            if said or time.monotonic() > end:
                return str(said)
            time.sleep(0.2)
