# SPDX-License-Identifier: Apache-2.0
"""A release to a real API server, previewed and applied with the playbooks as the control plane runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = "lab"
DIGEST = "sha256:" + "ab" * 32
CONFIG = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {greeting: "{{ greeting }}"}
"""
SECRET = """
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData:
  password: "{{ password }}"
  tls.key: |
    -----BEGIN PRIVATE KEY-----
    not a real one
    -----END PRIVATE KEY-----
    ---
"""
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: {{ replicas }}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: web
        image: "{{ image }}"
        env:
        - {name: DB_KEY, value: "{{ password }}"}
"""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
"""
JOB = """
apiVersion: batch/v1
kind: Job
metadata: {name: migrate}
spec:
  suspend: true
  template:
    spec:
      restartPolicy: Never
      containers: [{name: migrate, image: "{{ image }}"}]
"""
SCHEMA = {
    "greeting": {"type": "string", "default": "hello"},
    "password": {"type": "string", "secret": True, "default": "canary-secret-1"},
    "replicas": {"type": "integer", "default": 0},
    "image": {"type": "string", "default": f"registry.example/shop@{DIGEST}"},
}


def manifests(*parts: str) -> str:
    """Many documents."""
    return "---".join(parts or (CONFIG, SECRET, DEPLOYMENT, SERVICE, JOB))


class ClusterReleases:
    """Runs playbooks against one cluster, with a folder for specs and results."""

    def __init__(self, kubeconfig: Path, namespace: str, folder: Path) -> None:
        self.kubeconfig, self.namespace, self.folder = kubeconfig, namespace, folder
        folder.mkdir(exist_ok=True)
        self._inventory = folder / "inventory.json"
        host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        self._inventory.write_text(json.dumps({"release_clusters": {"hosts": {CLUSTER: host}}}))

    def spec(self, release_id: str, *parts: str, **more: Any) -> dict[str, Any]:
        """What is asked for."""
        return {
            "api": "tidegate.release/v1",
            "runtime_type": "k8s",
            "release_id": release_id,
            "service": "shop",
            "project": "shop-test",
            "namespace": self.namespace,
            "manifests": manifests(*parts),
            "variables": more.pop("variables", {}),
            "variable_schema": SCHEMA,
            "strategy": "rolling",
            "strategy_params": {},
            "images": [],
            "registries": [],
            "health_timeout": 60,
            "result_dir": str(self.folder),
            **more,
        }

    def preview(self, spec: dict[str, Any]) -> dict[str, Any]:
        """The preview, as it is in its file."""
        self.run("preview", spec)
        return self.result("preview")

    def previewed(self, spec: dict[str, Any], token: int) -> dict[str, Any]:
        """The spec to be applied, bound to a preview that is made now."""
        found = self.preview(spec)
        assert "rendered" in found, found
        assert not [one for one in found["checks"] if one["level"] == "blocking"], found["checks"]
        return {
            **spec,
            "manifests": None,
            "variables": {},
            "variable_schema": {},
            "rendered": found["rendered"],
            "resolved_images": {one["service"]: one for one in found["images"]},
            "fingerprints": {CLUSTER: found["fingerprint"]},
            "fingerprint_parts": {CLUSTER: found["fingerprint_parts"]},
            "conflicts": found["conflicts"],
            "compare_fingerprint": True,
            "fencing_token": token,
        }

    def release(self, spec: dict[str, Any], token: int) -> dict[str, Any]:
        """Preview and apply; the result of the apply."""
        assert self.run("apply", self.previewed(spec, token)), self.said
        return self.result("apply")

    def run(self, verb: str, spec: dict[str, Any], *options: str) -> bool:
        """Whether the playbook of this verb ended well."""
        return self.begin(verb, spec, *options).wait(timeout=300) == 0

    def begin(self, verb: str, spec: dict[str, Any], *options: str) -> subprocess.Popen[str]:
        """Start the playbook and do not wait."""
        argv = [*self.command(verb, spec), *options]
        with open(self.folder / "said.txt", "w") as said:
            return subprocess.Popen(
                argv, env=self.environment(), cwd=ROOT, stdout=said, stderr=said, text=True
            )

    @staticmethod
    def environment() -> dict[str, str]:
        """The environment of a playbook."""
        settings = {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
        return {**os.environ, **settings, "TIDEGATE_HMAC_KEY": "5a" * 32}

    def command(self, verb: str, spec: dict[str, Any]) -> list[str]:
        """Write the spec and return the command that runs its playbook."""
        path = self.folder / f"{verb}.spec.json"
        path.write_text(json.dumps(spec))
        book = "target_status" if verb == "status" else f"release_{verb}"
        argv = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(self._inventory)]
        argv += [str(ROOT / "playbooks" / f"{book}.yml"), "-e", f"release_spec_file={path}"]
        return [*argv, "-e", f"release_kubeconfig_file={self.kubeconfig}"]

    def result(self, verb: str) -> dict[str, Any]:
        """What a module wrote."""
        return dict(json.loads((self.folder / f"{CLUSTER}.{verb}.json").read_text()))

    def steps(self, verb: str = "apply") -> dict[str, str]:
        """The status of each step of a result."""
        return {one["step"]: one["status"] for one in self.result(verb)["steps"]}

    @property
    def said(self) -> str:
        """The output of the last playbook."""
        return (self.folder / "said.txt").read_text()


def actions(preview: dict[str, Any]) -> dict[str, str]:
    """What becomes of each object."""
    return {row["name"]: row["action"] for row in preview["services"]}


def codes(preview: dict[str, Any], level: str = "blocking") -> list[str]:
    """The checks of a level."""
    return sorted({one["code"] for one in preview["checks"] if one["level"] == level})
