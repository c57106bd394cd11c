# SPDX-License-Identifier: Apache-2.0
"""The Compose plugin, and the proof that a host can do what releases ask of it: a container runs and stops."""

from __future__ import annotations

import os
import re
from typing import Any, Dict, List

from ..release.errors import ReleaseError
from .installed import Installed
from .journal import Journal, run

STEP = "compose_environment"
PLUGIN = "/usr/local/lib/docker/cli-plugins/docker-compose"
_OLDEST = (2, 17)
# Each that tries has its own: an install and a look at the host's health may meet. What follows is its process's id.
_CONTAINER = "tidegate-environment-test-"


def apply(work: Dict[str, Any], journal: Journal, promise_only: bool) -> Dict[str, Any]:
    """Have the plugin and the test image, and try both; answers {"changes", "detail"}. Raises ReleaseError."""
    todo = Installed(journal, STEP, promise_only)
    if journal.find("link", PLUGIN) or not _version():
        folder = todo.programs("docker-compose", work["artifacts"]["compose-plugin"])
        todo.link(PLUGIN, os.path.join(folder, "docker-compose"))
    image = work["artifacts"]["test-image"]
    reference = (image.get("references") or [""])[0]
    if run("docker", "image", "inspect", reference).returncode != 0:
        todo.changes.append(f"load {reference}")
        if not promise_only:
            todo.note("image", reference)
            _load(image["path"], reference)
    if promise_only and todo.changes:
        return {"changes": todo.changes, "detail": {}}
    version = require_version()
    if not promise_only:
        try_container(reference)
    return {"changes": todo.changes, "detail": {"compose_version": version, "test_image": reference}}


def rollback(journal: Journal) -> Dict[str, List[str]]:
    """Take away the test image and what else was installed."""
    undone, left = journal.undo(STEP)
    return {"undone": undone, "left": left}


def _version() -> str:
    done = run("docker", "compose", "version", "--short")
    return done.stdout.strip() if done.returncode == 0 else ""


def require_version() -> str:
    """The version of Compose. Raises ReleaseError where it is too old, or not there."""
    version = _version()
    match = re.match(r"v?(\d+)\.(\d+)", version)
    if not match or (int(match[1]), int(match[2])) < _OLDEST:
        raise ReleaseError(
            "preflight_failed",
            f"Compose is {version or 'not there'}; {_OLDEST[0]}.{_OLDEST[1]} or newer is needed",
            "Take a bundle with a newer Compose plugin, or renew the host's own.",
        )
    return version


def _load(path: str, reference: str) -> None:
    done = run("docker", "load", "--quiet", "--input", path)
    if done.returncode != 0 or run("docker", "image", "inspect", reference).returncode != 0:
        raise ReleaseError("preflight_failed", f"{reference} cannot be loaded: {done.stderr.strip()[-500:]}")


def try_container(reference: str) -> None:
    """Run a container of the image, and stop it. Nothing of it stays. Raises ReleaseError where it does not."""
    _remove_left()
    name = _CONTAINER + str(os.getpid())
    try:
        done = run("docker", "run", "--detach", "--name", name, "--network", "none", reference)
        state = run("docker", "inspect", "--format", "{{.State.Running}}", name).stdout.strip()
        if done.returncode != 0 or state != "true":
            log = run("docker", "logs", "--tail", "20", name)
            said = (done.stderr + log.stdout + log.stderr).strip()[-1000:]
            raise ReleaseError("preflight_failed", f"a container of {reference} does not run: {said}")
        if run("docker", "stop", "--time", "5", name).returncode != 0:
            raise ReleaseError("preflight_failed", f"a container of {reference} does not stop")
    finally:
        run("docker", "rm", "--force", name)


def _remove_left() -> None:
    """Take away the containers of those that were killed while they tried."""
    listed = run(
        "docker", "ps", "--all", "--filter", f"name=^/?{_CONTAINER}[0-9]+$", "--format", "{{.Names}}"
    )
    for name in listed.stdout.split():
        process = name[len(_CONTAINER) :]
        if process == str(os.getpid()) or not os.path.exists(f"/proc/{process}"):
            run("docker", "rm", "--force", name)
