# SPDX-License-Identifier: Apache-2.0
"""What every Kubernetes node has before a cluster is made of it: programs, images, settings, the kubelet's unit."""

from __future__ import annotations

import os
from typing import Any, Dict, List

from ..release.errors import ReleaseError
from . import host_facts
from .installed import Installed
from .journal import OWN_DATA, Journal, run

STEP = "kubernetes_node"
BIN = "/usr/local/bin"
CNI_BIN = "/opt/cni/bin"
PROGRAMS = ("kubeadm", "kubelet", "kubectl")
_MODULES = "/etc/modules-load.d/tidegate-kubernetes.conf"
# What kubelet and kube-proxy name their chains with.
_CHAINS = "KUBE-"
_IMPORT_SECONDS = 600


def apply(work: Dict[str, Any], journal: Journal, promise_only: bool) -> Dict[str, Any]:
    """Bring a host to that state; answers {"changes", "detail"}. Raises ReleaseError.

    `work["node"]` has `files` (path -> content), `sysctls`, `modules`, `kubelet_unit`, `endpoint_address`,
    `endpoint_name`, `etcd_files` (path -> content, which only root reads), and `images` (artifact -> references).
    """
    node, artifacts = work["node"], work["artifacts"]
    todo = Installed(journal, STEP, promise_only)
    for program in PROGRAMS:
        folder = todo.programs(program, artifacts[program])
        todo.link(os.path.join(BIN, program), os.path.join(folder, program))
    plugins = todo.programs("cni-plugins", artifacts["cni-plugins"])
    for name in sorted(os.listdir(plugins)) if os.path.isdir(plugins) else ():
        todo.link(os.path.join(CNI_BIN, name), os.path.join(plugins, name))
    for path, content in node["files"].items():
        todo.file(path, content)
    if not promise_only:
        _load_modules(node["modules"])
    for name, value in node["sysctls"].items():
        todo.sysctl(name, value)
    todo.hosts_line(node["endpoint_address"], node["endpoint_name"])
    for path in OWN_DATA:
        is_there = os.path.isdir(path)
        if not journal.find("own_data", path) and not (is_there and os.listdir(path)) and not promise_only:
            journal.note(STEP, "own_data", path, was_there=is_there)
    # An API server reads a renewed credential when it connects to etcd the next time.
    for path, content in node["etcd_files"].items():
        todo.file(path, content, mode=0o600)
    if _CHAINS not in run("iptables-save").stdout:
        todo.note("packet_filter", _CHAINS)
    todo.waiting_unit("kubelet.service", node["kubelet_unit"])
    detail = _import_images(todo, node["images"], artifacts, promise_only)
    return {"changes": todo.changes, "detail": detail}


def rollback(journal: Journal) -> Dict[str, List[str]]:
    """Take away what was made."""
    undone, left = journal.undo(STEP)
    return {"undone": undone, "left": left}


def _load_modules(names: List[str]) -> None:
    for name in names:
        if host_facts.has_module(name) and not os.path.isdir(f"/sys/module/{name}"):
            # One that is built in is no failure, and what is missing shows where it is needed.
            run("modprobe", name)


def _import_images(
    todo: Installed, images: Dict[str, List[str]], artifacts: Dict[str, Any], promise_only: bool
) -> Dict[str, Any]:
    there = set(_listed())
    brought = []
    for artifact, references in images.items():
        missing = [one for one in references if one not in there]
        if not missing:
            continue
        todo.changes.append(f"import {len(missing)} images of {artifact}")
        if promise_only:
            continue
        for one in missing:
            todo.note("cluster_image", one)
        path = artifacts[artifact]["path"]
        done = run("ctr", "--namespace", "k8s.io", "images", "import", path, timeout=_IMPORT_SECONDS)
        lacking = sorted(set(missing) - set(_listed()))
        if done.returncode != 0 or lacking:
            said = done.stderr.strip()[-500:] or f"after it, {', '.join(lacking[:3])} is missing"
            raise ReleaseError("preflight_failed", f"{artifact} cannot be imported: {said}")
        brought += missing
    return {"images": brought}


def _listed() -> List[str]:
    return run("ctr", "--namespace", "k8s.io", "images", "list", "--quiet").stdout.split()
