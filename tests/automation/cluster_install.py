# SPDX-License-Identifier: Apache-2.0
"""Clusters made on lab hosts by the environment's playbooks, and kubectl of this machine that asks them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.automation.environment import Environments
from tests.lab import kube_assets, kubeadm
from tests.lab.host import LabHost
from tests.lab.lab import Lab

TOKENS = ("get", "secrets", "--namespace", "kube-system")


def bare(lab: Lab, name: str) -> LabHost:
    """A host with nothing but systemd and sshd on it, that a kubelet can run on."""
    made = lab.host(name, docker=False)
    kubeadm.prepare(made)
    return made


def cluster(
    lab: Lab, folder: Path, *hosts: LabHost, planes: int = 1, inputs: dict[str, Any] | None = None
) -> Environments:
    """The first hosts are control planes, the others workers."""
    environments = Environments(lab, folder, *hosts)
    environments.spec |= {
        "runtime_type": "k8s",
        "runtime_version": "1.36",
        "name": "one",
        "inputs": {**kubeadm.INPUTS, **(inputs or {})},
        "nodes": [
            {
                "host": one.name,
                "role": "control_plane" if number < planes else "worker",
                "address": one.address,
            }
            for number, one in enumerate(hosts)
        ],
    }
    return environments


def kubeconfig(folder: Path, host: LabHost) -> Path:
    """What the install fetched from a control plane, as a file."""
    path = folder / "kubeconfig"
    path.write_text(json.loads((folder / f"{host.name}.cluster.json").read_text())["kubeconfig"])
    return path


def kubectl(folder: Path, host: LabHost, *words: str, given: str | None = None) -> str:
    """kubectl of this machine, with what the install fetched."""
    argv = [str(kube_assets.program("kubectl")), "--kubeconfig", str(kubeconfig(folder, host)), *words]
    done = subprocess.run(
        argv, input=given, capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def nodes(folder: Path, host: LabHost) -> dict[str, dict[str, Any]]:
    """The cluster's nodes by name."""
    listed = json.loads(kubectl(folder, host, "get", "nodes", "-o", "json"))["items"]
    return {one["metadata"]["name"]: one for one in listed}


def is_ready(node: dict[str, Any]) -> bool:
    """Whether a node is ready."""
    return any(one["type"] == "Ready" and one["status"] == "True" for one in node["status"]["conditions"])
