# SPDX-License-Identifier: Apache-2.0
"""The certificates of one control plane made anew by kubeadm, and its pods started by them; or all as it was.

What was there is kept until every pod serves again. A run that was cut off is gone on with by the next one of the
same operation; what is kept is then still what was there before the first.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import time
from typing import Any, Dict, Iterator, List, Mapping

from ..host import state_folder
from ..network_entry.recorded_step import Step
from ..release.errors import ReleaseError
from . import certificate_set, kubectl, static_pods
from .journal import run

SECONDS = 1800
_RENEW_SECONDS = 120
_NODE_SECONDS = 180


def rotate(work: Mapping[str, Any], steps: List[Dict[str, Any]]) -> Dict[str, Any]:
    """Rotate; answers {"changed", "certificates", "kubeconfig"}, the last the administrator's, which is secret.

    Args:
        work: `operation` names whose work it is; `expected`, where given, the fingerprint that was previewed.
        steps: each step is added as it ends.

    Raises:
        ReleaseError: `preview_stale`, `certificate_invalid`, `timeout`, `cluster_unreachable`. What was there before
            is in force again then, or the message says what is not.
    """
    with _undisturbed():
        put_back = static_pods.put_back()
        found = certificate_set.read()
        state = _State(certificate_set.serials(found, "authority"))
        with Step(steps, "preflight") as step:
            step.detail = {"put_back": put_back} if put_back else {}
            if not state.is_of(work["operation"]):
                _require_as_previewed(work, found)
        changed = not (state.is_of(work["operation"]) and state.phase == "done")
        if changed:
            state.keep(work["operation"], certificate_set.renewed_files())
            try:
                _renew(state, steps)
                _restart(steps)
                _verify(steps)
            except BaseException as error:
                raise _restored(state, error) from error
            state.end(work["operation"])
    with open(kubectl.ADMIN, encoding="utf-8") as file:
        return {"changed": changed, "certificates": certificate_set.read(), "kubeconfig": file.read()}


def _require_as_previewed(work: Mapping[str, Any], found: List[Dict[str, Any]]) -> None:
    expected = work.get("expected")
    if expected and certificate_set.fingerprint(found) != expected:
        raise ReleaseError(
            "preview_stale", "the certificates are others than those that were previewed", "Preview again."
        )


def _renew(state: "_State", steps: List[Dict[str, Any]]) -> None:
    with Step(steps, "renew") as step:
        before = state.serials
        if _are_new(before):
            return
        words = ["kubeadm", "certs", "renew", "all"]
        folder = certificate_set.folder()
        if folder != certificate_set.DEFAULT_FOLDER:
            words += ["--cert-dir", folder]
        done = run(*words, timeout=_RENEW_SECONDS)
        step.said = (done.stdout + done.stderr).strip()
        if done.returncode != 0 or not _are_new(before):
            said = done.stderr.strip()[-1000:] or "some of the certificates are the old ones still"
            raise ReleaseError(
                "certificate_invalid", f"kubeadm certs renew: {said}", "Read what it says; then try again."
            )
        step.changed = True
        step.detail = {"renewed": sorted(before)}


def _are_new(before: Mapping[str, str]) -> bool:
    now = certificate_set.serials(certificate_set.read())
    return bool(now) and all(serial and serial != before.get(name) for name, serial in now.items())


def _restart(steps: List[Dict[str, Any]]) -> None:
    """Restart each pod that began before the newest certificate was written; the next only when it serves again."""
    written = max(os.path.getmtime(path) for path in certificate_set.renewed_files())
    served = os.path.join(certificate_set.folder(), "apiserver.crt")
    for name in static_pods.present():
        with Step(steps, name) as step:
            if static_pods.is_older(name, written):
                static_pods.restart(name)
                step.changed = True
            where = static_pods.place(name)
            is_api = name == "kube-apiserver"
            static_pods.await_ready(
                name, (lambda where=where: static_pods.shows(where, served)) if is_api else None
            )


def _verify(steps: List[Dict[str, Any]]) -> None:
    """The administrator's new credential is let in, and the node is ready again."""
    with Step(steps, "verify") as step:
        name = certificate_set.node_name(certificate_set.read())
        end = time.monotonic() + _NODE_SECONDS
        while True:
            said = _not_well(name)
            if not said:
                step.detail = {"node": name}
                return
            if time.monotonic() > end:
                raise ReleaseError("timeout", said, "See `journalctl --unit kubelet` on the host.")
            time.sleep(1)


def _not_well(name: str) -> str:
    try:
        kubectl.tell("get", "--raw", "/readyz")
        node = next((one for one in kubectl.nodes() if one["name"] == name), None)
    except ReleaseError as error:
        return str(error)
    if name and (node is None or not node["ready"]):
        return f"node {name} is not ready: {node['message'] if node else 'it is not there'}"
    return ""


def _restored(state: "_State", error: BaseException) -> ReleaseError:
    """Put back what was there, start the pods by it, and return what is to be told."""
    key = getattr(error, "error_key", "internal_error")
    hint = getattr(error, "hint", "")
    try:
        static_pods.put_back()
        state.restore()
        _restart([])
    except (OSError, ReleaseError) as other:
        said = f"{error}; and what was there before does not come back: {other}"
        return ReleaseError(key, said, f"It is kept in {state.folder}. {hint}".strip())
    state.forget()
    return ReleaseError(key, f"{error}; the certificates are those from before again", hint)


class _State:
    """What the host remembers of a rotation: whose it is, how far it came, and the files from before.

    What is remembered of a cluster with other `authorities`, which was here before, is nothing.
    """

    def __init__(self, authorities: Mapping[str, str]) -> None:
        self.folder = state_folder.path("certificates")
        self._kept = os.path.join(self.folder, "kept")
        known: Dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError), open(self._file, encoding="utf-8") as file:
            known = json.load(file)
        self._authorities = dict(authorities)
        if known.get("authorities") != self._authorities:
            known = {}
        self.operation = str(known.get("operation") or "")
        self.phase = str(known.get("phase") or "")
        self.serials: Dict[str, str] = dict(known.get("serials") or {})
        self._files: List[str] = list(known.get("files") or [])

    @property
    def _file(self) -> str:
        return os.path.join(self.folder, "state.json")

    def is_of(self, operation: str) -> bool:
        return bool(operation) and self.operation == operation and self.phase in ("begun", "done")

    def keep(self, operation: str, files: List[str]) -> None:
        """Keep these files, unless a run that was cut off has kept those from before it."""
        if self.phase != "begun":
            shutil.rmtree(self._kept, ignore_errors=True)
            for path in files:
                goal = self._kept + path
                os.makedirs(os.path.dirname(goal), mode=0o700, exist_ok=True)
                shutil.copy2(path, goal)
            self._files = files
            self.serials = certificate_set.serials(certificate_set.read())
        self._write(operation, "begun")

    def restore(self) -> None:
        """Put the files from before back. They are as new as now: pods are started by what changed."""
        for path in self._files:
            shutil.copyfile(self._kept + path, path)

    def end(self, operation: str) -> None:
        """All of it is done: old keys are of no use to anybody, and are deleted."""
        self._write(operation, "done")
        shutil.rmtree(self._kept, ignore_errors=True)

    def forget(self) -> None:
        """Nothing is under way, and nothing is kept."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.operation = self.phase = ""

    def _write(self, operation: str, phase: str) -> None:
        self.operation, self.phase = operation, phase
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        known = {
            "operation": operation, "phase": phase, "files": self._files, "serials": self.serials,
            "authorities": self._authorities,
        }  # fmt: skip
        making = self._file + ".making"
        with open(making, "w", encoding="utf-8") as out:
            json.dump(known, out)
            out.flush()
            os.fsync(out.fileno())
        os.replace(making, self._file)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Go on when the connection is lost: a control plane is not left without its pods."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)
