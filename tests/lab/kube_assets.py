# SPDX-License-Identifier: Apache-2.0
"""Where the Kubernetes programs are that the lab runs, and which of them are missing.

They come from the folder that `KUBEBUILDER_ASSETS` names, by convention `/usr/local/kubebuilder/bin`; the lab
neither fetches nor builds them.
"""

from __future__ import annotations

import os
from pathlib import Path

API_PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl")
# containerd and the network plugins of a node are Debian's: see packages.py.
NODE_PROGRAMS = (*API_PROGRAMS, "kube-scheduler", "kubelet", "kube-proxy")


def folder() -> Path:
    """The folder with the programs, whether it is there or not."""
    return Path(os.environ.get("KUBEBUILDER_ASSETS") or "/usr/local/kubebuilder/bin")


def program(name: str) -> Path:
    """The path of one program."""
    return folder() / name


def missing(*, node: bool = False) -> list[str]:
    """The programs that are not there: of those an API server needs, or a whole node."""
    wanted = NODE_PROGRAMS if node else API_PROGRAMS
    return [name for name in wanted if not os.access(program(name), os.X_OK)]


def why_not(*, node: bool = False) -> str:
    """One line that says what is missing, or nothing when all is there."""
    absent = missing(node=node)
    return f"no {', '.join(absent)} in {folder()} (KUBEBUILDER_ASSETS)" if absent else ""
