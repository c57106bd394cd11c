# SPDX-License-Identifier: Apache-2.0
"""A cluster is begun, or joined, with kubeadm. What was broken off half way is taken back and done again.

See https://kubernetes.io/docs/reference/config-api/kubeadm-config.v1beta4/.
"""

from __future__ import annotations

import os
import tempfile
from typing import Any, Callable, Dict, List, Optional

from ..release.errors import ReleaseError
from . import kubectl
from .journal import Journal, run

INIT, JOIN_PLANE, JOIN_WORKER = "control_plane_init", "control_plane_join", "worker_join"
KUBELET = "/etc/kubernetes/kubelet.conf"
_ENTRY = "node"
_TAIL = 3000


def init(work: Dict[str, Any], journal: Journal, promise_only: bool) -> Dict[str, Any]:
    """Make the first control plane; answers {"changes", "detail"}. Raises ReleaseError kubeadm_init_failed."""

    def make(journal: Journal) -> str:
        said = _kubeadm(
            "kubeadm_init_failed", work["init"]["config"], work["init"]["seconds"],
            "init", "--skip-token-print", "--skip-certificate-key-print",
        )  # fmt: skip
        delete_tokens(lambda _description: True)
        return said

    return _once(INIT, "kubeadm init", make, journal, promise_only)


def join(step: str, work: Dict[str, Any], journal: Journal, promise_only: bool) -> Dict[str, Any]:
    """Join a cluster; answers {"changes", "detail"}. Raises ReleaseError kubeadm_join_failed.

    `work["join"]` has `config`, empty where the first control plane let nobody in, and `seconds`.
    """

    def make(journal: Journal) -> str:
        if not work["join"]["config"]:
            raise ReleaseError(
                "kubeadm_join_failed",
                "the first control plane gave nothing to join with",
                "See what failed there; then try again.",
            )
        return _kubeadm("kubeadm_join_failed", work["join"]["config"], work["join"]["seconds"], "join")

    return _once(step, "kubeadm join", make, journal, promise_only)


def rollback(step: str) -> Callable[[Journal], Dict[str, List[str]]]:
    """Take a step back: the node leaves, and what kubeadm made is gone."""

    def undo(journal: Journal) -> Dict[str, List[str]]:
        why = stays(journal)
        if why:
            raise why
        undone, left = journal.undo(step)
        return {"undone": undone, "left": left}

    return undo


def stays(journal: Journal) -> Optional[ReleaseError]:
    """Why a node is not taken back with the one task that made it join a cluster which stays: its pods, and what the
    cluster knows of it, are nothing that is undone here. None where it may be, or is not asked."""
    known = journal.find("kubeadm", _ENTRY)
    if not (journal.undoes_some and known.get("done") and journal.takes("kubeadm", _ENTRY)):
        return None
    if known["step"] == JOIN_WORKER:
        hint = "Take it out of the cluster first: an install preview of kind removal, which drains it."
    else:
        hint = "A control plane leaves with the whole cluster: roll back the install that made that."
    return ReleaseError(
        "conflict", "the host joined a cluster with this install, and the cluster stays", hint
    )


def delete_tokens(is_meant: Callable[[str], bool]) -> None:
    """Take away the bootstrap tokens whose description is meant."""
    listed = kubectl.ask(
        "get",
        "secrets",
        "--namespace",
        "kube-system",
        "--field-selector",
        "type=bootstrap.kubernetes.io/token",
    )
    for secret in listed["items"]:
        if is_meant((secret.get("data") or {}).get("description", "")):
            kubectl.tell("delete", "secret", "--namespace", "kube-system", secret["metadata"]["name"])


def _once(
    step: str, word: str, make: Callable[[Journal], str], journal: Journal, promise_only: bool
) -> Dict[str, Any]:
    known = journal.find("kubeadm", _ENTRY)
    if known.get("done") and os.path.exists(KUBELET):
        return {"changes": [], "detail": {}}
    if os.path.exists(KUBELET) and not known:
        raise ReleaseError(
            "conflict",
            f"{KUBELET} is there: the host is a node of a cluster that Tidegate did not make",
            "Take it out of that cluster and run `kubeadm reset` there, or take another host.",
        )
    if promise_only:
        return {"changes": [word], "detail": {}}
    why = journal.take_back("kubeadm", _ENTRY)
    if why:
        raise ReleaseError("conflict", f"what was broken off cannot be taken back: {why}")
    journal.note(step, "kubeadm", _ENTRY, done=False)
    said = make(journal)
    journal.note(step, "kubeadm", _ENTRY, done=True)
    return {"changes": [word], "detail": {"output": said[-_TAIL:]}}


def _kubeadm(error_key: str, config: str, seconds: int, *words: str) -> str:
    """Run kubeadm with a configuration that only root can read and that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="tidegate-kubeadm-", dir="/run") as folder:
        path = os.path.join(folder, "kubeadm.yaml")
        with open(path, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as out:
            out.write(config)
        done = run("kubeadm", words[0], "--config", path, *words[1:], timeout=seconds)
    if done.returncode != 0:
        said = (done.stdout[-_TAIL:] + "\n" + done.stderr[-_TAIL:]).strip()
        raise ReleaseError(error_key, f"kubeadm {words[0]}: {said}", _hint(said))
    return done.stdout


def _hint(said: str) -> str:
    if "[ERROR " in said:
        return (
            "Mend what its checks name; what is meant to be so goes into the input kubeadm_ignore_preflight."
        )
    return "See `journalctl --unit kubelet` on the host; then try again: it begins this step anew."
