# SPDX-License-Identifier: Apache-2.0
"""Docker and Compose as argument lists in, bytes out. No shell, no environment but what they need."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from typing import Any

from .errors import ReleaseError

PROJECT_LABEL = "com.docker.compose.project"
SERVICE_LABEL = "com.docker.compose.service"
_KEPT_ENVIRONMENT = ("PATH", "HOME", "DOCKER_HOST", "DOCKER_CONTEXT", "XDG_RUNTIME_DIR")


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    exit_code: int
    stdout: str
    stderr: str


def docker(
    argv: list[str], stdin: str | None = None, timeout: float = 60, docker_config: str | None = None
) -> Done:
    """Run `docker ...`; `timeout` is seconds. Raises ReleaseError preflight_failed when there is no Docker."""
    environment = {name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ}
    environment["PATH"] = environment.get("PATH", "/usr/bin:/bin") + ":/usr/local/bin:/usr/sbin"
    if docker_config:
        environment["DOCKER_CONFIG"] = docker_config
    try:
        done = subprocess.run(
            ["docker", *argv], input=stdin, capture_output=True, timeout=timeout, env=environment,
            encoding="utf-8", errors="replace", check=False,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise ReleaseError(
            "preflight_failed", "there is no docker command on the host", "Install Docker and Compose 2."
        ) from error
    except subprocess.TimeoutExpired:
        return Done(124, "", f"docker {argv[0]} did not end within {timeout:g} s")
    return Done(done.returncode, done.stdout, done.stderr)


def inspect_project(project: str) -> list[dict[str, Any]]:
    """The containers of a Compose project as the engine inspects them, one-off runs left out."""
    listed = docker(["ps", "-aq", "--no-trunc", "--filter", f"label={PROJECT_LABEL}={project}"])
    if listed.exit_code:
        raise ReleaseError(
            "preflight_failed", f"the engine does not answer: {listed.stderr.strip()[-500:]}",
            "Start Docker, and let the user reach its socket (group docker, or become).",
        )  # fmt: skip
    if not listed.stdout.split():
        return []
    found = docker(["container", "inspect", *listed.stdout.split()])
    containers = json.loads(found.stdout or "[]")
    return [
        one for one in containers if one["Config"]["Labels"].get("com.docker.compose.oneoff", "False") == "False"
    ]


def inspect_image(reference: str) -> dict[str, Any] | None:
    """The image as the engine inspects it, None when it is not on the host."""
    done = docker(["image", "inspect", reference])
    return json.loads(done.stdout)[0] if done.exit_code == 0 else None
