# SPDX-License-Identifier: Apache-2.0
"""A cluster is begun, or joined, with kubeadm. What was broken off half way is taken back and done again.

See https://kubernetes.io/docs/reference/config-api/kubeadm-config.v1beta4/.
"""

from __future__ import annotations

import json
import os
import tempfile
from typing import Any, Callable, Dict, List, Mapping, Optional

from ..release.errors import ReleaseError
from . import external_etcd, kubectl
from .journal import Journal, run

INIT, JOIN_PLANE, JOIN_WORKER = "control_plane_init", "control_plane_join", "worker_join"
KUBELET = "/etc/kubernetes/kubelet.conf"
# Folders that have to be empty, and what kubeadm calls its check of each.
LEFTOVERS = {
    "manifests": ("/etc/kubernetes/manifests", "DirAvailable--etc-kubernetes-manifests"),
    "etcd": ("/var/lib/etcd", "DirAvailable--var-lib-etcd"),
}
_ENTRY = "node"
_ETCD = "etcd"
_TAIL = 3000
# Nothing that is written here meets a disk.
_MEMORY = "/run"
_PARTS = {
    INIT: "began its cluster",
    JOIN_PLANE: "joined as a control plane",
    JOIN_WORKER: "joined as a worker",
}


def init(work: Dict[str, Any], journal: Journal, promise_only: bool) -> Dict[str, Any]:
    """Make the first control plane; answers {"changes", "detail"}. `work["init"]` has `config`, `seconds`, `lasting`
    (what stays as the cluster was begun with it, by the inputs' names) and `etcd`, empty where etcd is the cluster's
    own, or `endpoints` and `files`.

    Raises ReleaseError kubeadm_init_failed, conflict, preflight_failed.
    """
    etcd, lasting = work["init"]["etcd"], work["init"]["lasting"]
    known = journal.find("kubeadm", _ENTRY)
    _require_own(INIT, known, work)
    _require_lasting(lasting, known)
    if etcd and not known.get("done"):
        _take_etcd(etcd, journal, promise_only)

    def make(journal: Journal) -> str:
        said = _kubeadm(
            "kubeadm_init_failed", work["init"]["config"], work["init"]["seconds"],
            "init", "--skip-token-print", "--skip-certificate-key-print",
        )  # fmt: skip
        delete_tokens(lambda _description: True)
        if etcd:
            cluster = kubectl.ask("get", "namespace", "kube-system")["metadata"]["uid"]
            journal.note(INIT, "external_etcd", _ETCD, cluster=cluster)
        return said

    return _once(INIT, work, make, journal, promise_only, lasting)


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

    return _once(step, work, make, journal, promise_only)


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


def _take_etcd(etcd: Mapping[str, Any], journal: Journal, promise_only: bool) -> None:
    """An etcd elsewhere is this cluster's from now on, and holds nothing. Raises ReleaseError conflict."""
    if journal.find("external_etcd", _ETCD):
        if promise_only:
            return
        # The API server first, which would write on; then what a run that was broken off has written.
        _take_back("kubeadm", _ENTRY, journal)
        _take_back("external_etcd", _ETCD, journal)
    external_etcd.require_empty(etcd["endpoints"], etcd["files"])
    if not promise_only:
        # Before kubeadm's own entry: what was made last is undone first.
        journal.note(INIT, "external_etcd", _ETCD, endpoints=etcd["endpoints"])


def _take_back(kind: str, name: str, journal: Journal) -> None:
    why = journal.take_back(kind, name)
    if why:
        raise ReleaseError("conflict", f"what was broken off cannot be taken back: {why}")


def _require_lasting(lasting: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Raises ReleaseError conflict for what a cluster that is there would have to be begun anew for."""
    begun = known.get("lasting") or {}
    other = sorted(name for name, value in lasting.items() if name in begun and begun[name] != value)
    if other and known.get("done"):
        told = "; ".join(f"{name} was {json.dumps(begun[name])}"[:200] for name in other)
        raise ReleaseError(
            "conflict",
            f"the cluster was begun with other inputs, and these stay as they are: {told}",
            "Leave them as they were; for others, roll the environment back and install it anew.",
        )


def _require_own(step: str, known: Mapping[str, Any], work: Mapping[str, Any]) -> None:
    """Raises ReleaseError conflict for a node of somebody else's, one that is another thing in its cluster, or what an
    earlier cluster left behind."""
    if not os.path.exists(KUBELET):
        if not known:
            _require_empty(step, work)
        return
    if not known:
        raise ReleaseError(
            "conflict",
            f"{KUBELET} is there: the host is a node of a cluster that Tidegate did not make",
            "Take it out of that cluster and run `kubeadm reset` there, or take another host.",
        )
    if not known.get("done") or known["step"] == step:
        return
    raise ReleaseError(
        "conflict",
        f"the host {_PARTS[known['step']]}, and would have to be one that {_PARTS[step]}",
        "Name the control plane that the cluster began with before all others, and leave each node its role; a worker "
        "becomes a control plane once it was removed.",
    )


def _require_empty(step: str, work: Mapping[str, Any]) -> None:
    """kubeadm would refuse them, too, but only when all before it is done."""
    ignored = work["inputs"]["kubeadm_ignore_preflight"]
    has_etcd = step != JOIN_WORKER and not work["init"]["etcd"]
    folders = [LEFTOVERS["manifests"], *([LEFTOVERS["etcd"]] if has_etcd else [])]
    left = [
        path for path, check in folders if check not in ignored and os.path.isdir(path) and os.listdir(path)
    ]
    if left:
        raise ReleaseError(
            "conflict",
            f"there is something of an earlier cluster in {', '.join(left)}",
            "Run `kubeadm reset` there, or move it away; what is meant to be there, as a restored etcd, goes by its "
            "check into kubeadm_ignore_preflight.",
        )


def _once(
    step: str,
    work: Mapping[str, Any],
    make: Callable[[Journal], str],
    journal: Journal,
    promise_only: bool,
    lasting: Optional[Mapping[str, Any]] = None,
) -> Dict[str, Any]:
    known = journal.find("kubeadm", _ENTRY)
    _require_own(step, known, work)
    word = "kubeadm init" if step == INIT else "kubeadm join"
    if known.get("done") and os.path.exists(KUBELET):
        return {"changes": [], "detail": {}}
    if promise_only:
        return {"changes": [word], "detail": {}}
    _take_back("kubeadm", _ENTRY, journal)
    # What a run that was broken off noted of itself goes with it.
    journal.note(step, "kubeadm", _ENTRY, done=False, lasting=dict(lasting or {}))
    said = make(journal)
    journal.note(step, "kubeadm", _ENTRY, done=True)
    return {"changes": [word], "detail": {"output": said[-_TAIL:]}}


def _kubeadm(error_key: str, config: str, seconds: int, *words: str) -> str:
    """Run kubeadm with a configuration that only root can read and that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="tidegate-kubeadm-", dir=_MEMORY) as folder:
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
