# SPDX-License-Identifier: Apache-2.0
"""What the first control plane is asked for on behalf of the others. Its answers hold secrets: nobody prints them."""

from __future__ import annotations

import base64
import os
import re
import tempfile
import time
from typing import Any, Callable, Dict, Mapping

from ..release.errors import ReleaseError
from . import kubeadm, kubectl
from .journal import run

DESCRIPTION = "tidegate: a node joins"
# kubeadm's own, which has the certificates go when it goes.
_OF_CERTIFICATES = "Proxy for managing TTL for the kubeadm-certs secret"
_TOKEN_MINUTES = 30
_SUBNET_SECONDS = 60
_JOIN = re.compile(
    r"--token (?P<token>[a-z0-9.]+) +--discovery-token-ca-cert-hash (?P<hash>sha256:[0-9a-f]{64})"
)


def answer(verb: str, work: Mapping[str, Any]) -> Dict[str, Any]:
    """Do one of VERBS; {} where this host is no control plane (yet). Raises ReleaseError."""
    return VERBS[verb](work) if kubectl.is_there() else {}


def _open(work: Mapping[str, Any]) -> Dict[str, Any]:
    """What lets nodes join, for a short time, where one of `names` is missing: `token`, `ca_hashes`."""
    there = {one["name"] for one in kubectl.nodes()}
    if not set(work["names"]) - there:
        return {}
    if work["config"]:
        _upload_certificates(work["config"])
    done = run(
        "kubeadm", "token", "create", "--ttl", f"{_TOKEN_MINUTES}m", "--description", DESCRIPTION,
        "--print-join-command", "--kubeconfig", kubectl.ADMIN,
    )  # fmt: skip
    found = _JOIN.search(done.stdout)
    if done.returncode != 0 or found is None:
        raise ReleaseError("kubeadm_join_failed", f"no token was made: {done.stderr.strip()[-500:]}")
    return {"token": found["token"], "ca_hashes": [found["hash"]]}


def _upload_certificates(config: str) -> None:
    """Other control planes find the certificates in the cluster, encrypted with a key that is in `config` alone."""
    with tempfile.TemporaryDirectory(prefix="tidegate-kubeadm-", dir="/run") as folder:
        path = os.path.join(folder, "kubeadm.yaml")
        with open(path, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as out:
            out.write(config)
        done = run(
            "kubeadm", "init", "phase", "upload-certs", "--upload-certs", "--skip-certificate-key-print",
            "--config", path,
        )  # fmt: skip
    if done.returncode != 0:
        said = done.stderr.strip()[-500:]
        raise ReleaseError("kubeadm_join_failed", f"the certificates were not handed over: {said}")


def _close(_work: Mapping[str, Any]) -> Dict[str, Any]:
    """Nothing that lets a node join stays."""
    meant = {_base64(DESCRIPTION), _base64(_OF_CERTIFICATES)}
    kubeadm.delete_tokens(lambda description: description in meant)
    kubectl.tell("delete", "secret", "--namespace", "kube-system", "kubeadm-certs", "--ignore-not-found")
    return {}


def _nodes(_work: Mapping[str, Any]) -> Dict[str, Any]:
    """The cluster's nodes, once each has a network for its pods: the cluster gives it shortly after a node joins."""
    until = time.monotonic() + _SUBNET_SECONDS
    while True:
        nodes = kubectl.nodes()
        if all(one["pod_subnet"] for one in nodes) or time.monotonic() > until:
            return {"nodes": nodes}
        time.sleep(1)


def _kubeconfig(work: Mapping[str, Any]) -> Dict[str, Any]:
    """The administrator's kubeconfig, with an address that is reached from elsewhere."""
    with open(kubectl.ADMIN, encoding="utf-8") as file:
        text = file.read()
    return {
        "kubeconfig": re.sub(r"(?m)^(\s*server:) \S+$", lambda found: f"{found[1]} {work['server']}", text)
    }


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


VERBS: Dict[str, Callable[[Mapping[str, Any]], Dict[str, Any]]] = {
    "open": _open,
    "close": _close,
    "nodes": _nodes,
    "kubeconfig": _kubeconfig,
}
