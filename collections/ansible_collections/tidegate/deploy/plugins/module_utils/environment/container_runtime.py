# SPDX-License-Identifier: Apache-2.0
"""What runs a host's containers, out of the bundle: Docker's engine installed, adopted or refused; or containerd."""

from __future__ import annotations

import os
import shutil
from typing import Any, Dict, List

from ..release.errors import ReleaseError
from . import kubernetes_runtime
from .installed import Installed
from .journal import Journal, run

STEP = "container_runtime"
LINKED = {
    "docker-engine": ("docker", "dockerd", "docker-proxy"),
    "containerd": ("containerd", "containerd-shim-runc-v2", "ctr"),
    "runc": ("runc",),
}
BIN = "/usr/local/bin"
ANSWER_SECONDS = 30
# Engines before 23 write one when they start.
_ENGINE_KEY = "/etc/docker/key.json"


def is_ours(journal: Journal) -> bool:
    """Whether the engine on this host was put there by an install."""
    return bool(journal.find("unit", "docker.service"))


def existing() -> str:
    """Docker that is on the host: where, or nothing."""
    found = shutil.which("dockerd") or shutil.which("docker") or ""
    if found:
        return found
    listed = run("systemctl", "list-unit-files", "--no-legend", "docker.service").stdout.strip()
    if listed:
        return "docker.service"
    return "/run/docker.sock" if os.path.exists("/run/docker.sock") else ""


def apply(work: Dict[str, Any], journal: Journal, promise_only: bool) -> Dict[str, Any]:
    """Bring the runtime to the wanted state; answers {"changes", "detail"}.

    `work` has `artifacts` (id -> path, sha256, type), `files` (path -> content), `units` (name -> content) and
    `inputs`. Raises ReleaseError.
    """
    if work.get("runtime") == "k8s":
        return kubernetes_runtime.apply(work, journal, promise_only)
    if not is_ours(journal) and existing():
        return _adopt(work["inputs"]["docker_existing"])
    todo = Installed(journal, STEP, promise_only)
    for artifact, programs in LINKED.items():
        folder = todo.programs(artifact, work["artifacts"][artifact])
        for program in programs:
            todo.link(os.path.join(BIN, program), os.path.join(folder, program))
    todo.group("docker")
    read_anew = bool(todo.changes)
    for path, content in work["files"].items():
        read_anew = todo.file(path, content) or read_anew
    # containerd makes its folder for plugins when it starts.
    for folder in ("/opt/containerd", "/opt/containerd/bin", "/opt/containerd/lib"):
        todo.folder(folder)
    if not os.path.exists(_ENGINE_KEY):
        todo.note("made", _ENGINE_KEY)
    for folder in ("/var/lib/containerd", work["inputs"]["docker_data_root"]):
        if not os.path.isdir(folder) or not os.listdir(folder):
            todo.note("data", folder)
    if not os.path.exists("/sys/class/net/docker0"):
        todo.note("interface", "docker0")
    todo.units(work["units"], changed_with=read_anew)
    version = "" if promise_only and todo.changes else _answers()
    return {"changes": todo.changes, "detail": {"engine_version": version, "adopted": False}}


def rollback(journal: Journal) -> Dict[str, List[str]]:
    """Take away what was installed. Raises ReleaseError conflict while containers run: they are somebody's."""
    if journal.takes("unit", "docker.service"):
        running = run(os.path.join(BIN, "docker"), "ps", "--format", "{{.Names}}").stdout.split()
        if running:
            raise ReleaseError(
                "conflict",
                f"containers run on the host: {', '.join(running[:10])}",
                "Roll their releases back, or stop them, then roll back again.",
            )
    kubernetes_runtime.require_idle(journal)
    undone, left = journal.undo(STEP)
    return {"undone": undone, "left": left}


def _adopt(choice: str) -> Dict[str, Any]:
    if choice != "adopt":
        raise ReleaseError(
            "preflight_failed",
            f"Docker is on the host already ({existing()}), and it is never replaced",
            "Remove it, or say docker_existing: adopt to use it as it is.",
        )
    return {"changes": [], "detail": {"engine_version": _answers(), "adopted": True}}


def _answers() -> str:
    """The engine's version. Raises ReleaseError where it does not answer."""
    done = run("docker", "version", "--format", "{{.Server.Version}}", timeout=ANSWER_SECONDS)
    if done.returncode != 0:
        raise ReleaseError(
            "preflight_failed", f"the engine does not answer: {done.stderr.strip()[-500:]}", "See its log."
        )
    return done.stdout.strip()
