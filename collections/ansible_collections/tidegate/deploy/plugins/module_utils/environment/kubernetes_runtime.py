# SPDX-License-Identifier: Apache-2.0
"""containerd and runc for a Kubernetes node, out of the bundle. What is on a host already is never replaced."""

from __future__ import annotations

import os
import shutil
from typing import Any, Dict

from ..release.errors import ReleaseError
from .installed import Installed
from .journal import Journal, run

STEP = "container_runtime"
BIN = "/usr/local/bin"
LINKED = {"containerd-2": ("containerd", "containerd-shim-runc-v2", "ctr"), "runc": ("runc",)}
SOCKET = "/run/containerd/containerd.sock"


def apply(work: Dict[str, Any], journal: Journal, promise_only: bool) -> Dict[str, Any]:
    """Have containerd run; answers {"changes", "detail"}. `work` is as for the engine. Raises ReleaseError."""
    _require_free(journal)
    todo = Installed(journal, STEP, promise_only)
    for artifact, programs in LINKED.items():
        folder = todo.programs(artifact, work["artifacts"][artifact])
        for program in programs:
            todo.link(os.path.join(BIN, program), os.path.join(folder, program))
    read_anew = bool(todo.changes)
    for path, content in work["files"].items():
        read_anew = todo.file(path, content) or read_anew
    # containerd makes its folders for plugins and networks when it starts.
    for path in ("/opt/containerd/bin", "/opt/containerd/lib", "/etc/cni/net.d"):
        todo.folder(path)
    if not os.path.isdir("/var/lib/containerd") or not os.listdir("/var/lib/containerd"):
        todo.note("data", "/var/lib/containerd")
    todo.units(work["units"], changed_with=read_anew)
    if promise_only and todo.changes:
        return {"changes": todo.changes, "detail": {}}
    done = run("ctr", "version")
    if done.returncode != 0:
        raise ReleaseError(
            "preflight_failed", f"containerd does not answer: {done.stderr.strip()[-500:]}", "See its log."
        )
    return {"changes": todo.changes, "detail": {"containerd_version": _version(done.stdout)}}


def require_idle(journal: Journal) -> None:
    """Let pass what nobody needs any more. Raises ReleaseError conflict while containers run: they are somebody's."""
    is_ours = journal.takes("unit", "containerd.service") and not journal.find("unit", "docker.service")
    if not is_ours or not os.path.exists(SOCKET):
        return
    for namespace in run("ctr", "namespaces", "list", "--quiet").stdout.split():
        running = run("ctr", "--namespace", namespace, "tasks", "list", "--quiet").stdout.split()
        if running:
            raise ReleaseError(
                "conflict",
                f"containers run on the host, in containerd's namespace {namespace}: {', '.join(running[:10])}",
                "Stop them, then roll back again.",
            )


def _require_free(journal: Journal) -> None:
    if journal.find("unit", "docker.service"):
        raise ReleaseError(
            "conflict",
            "the host is a Compose host of Tidegate's",
            "Roll that environment back first, or take another host.",
        )
    found = shutil.which("containerd") or (SOCKET if os.path.exists(SOCKET) else "")
    if found and not journal.find("unit", "containerd.service"):
        raise ReleaseError(
            "preflight_failed",
            f"containerd is on the host already ({found}), and it is never replaced",
            "Remove it, or take another host.",
        )


def _version(told: str) -> str:
    server = told.partition("Server:")[2] or told
    words = [line.split()[-1] for line in server.splitlines() if line.strip().startswith("Version:")]
    return words[0] if words else ""
