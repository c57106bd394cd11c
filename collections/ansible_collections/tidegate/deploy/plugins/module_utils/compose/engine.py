# SPDX-License-Identifier: Apache-2.0
"""Docker and Compose as argument lists in, bytes out. No shell, no environment but what they need."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from ..release.errors import ReleaseError
from . import engine_api

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
    if engine_api.socket_path() is None:
        containers = _inspect_by_command(project)
    else:
        label = json.dumps({"label": [f"{PROJECT_LABEL}={project}"]})
        listed = _asked("/containers/json", {"all": "1", "filters": label})
        # One that goes away between both questions is no container of the project any more.
        answers = (engine_api.get(f"/containers/{one['Id']}/json") for one in listed)
        containers = [document for status, document in answers if status == 200]
    return [
        one
        for one in containers
        if one["Config"]["Labels"].get("com.docker.compose.oneoff", "False") == "False"
    ]


def _asked(path: str, query: dict[str, str]) -> Any:
    status, document = engine_api.get(path, query)
    if status != 200:
        raise ReleaseError(
            "preflight_failed", f"the engine answers {status}: {document}", "See Docker's log."
        )
    return document


def _inspect_by_command(project: str) -> list[dict[str, Any]]:
    listed = docker(["ps", "-aq", "--no-trunc", "--filter", f"label={PROJECT_LABEL}={project}"])
    if listed.exit_code:
        raise ReleaseError(
            "preflight_failed", f"the engine does not answer: {listed.stderr.strip()[-500:]}",
            "Start Docker, and let the user reach its socket (group docker, or become).",
        )  # fmt: skip
    if not listed.stdout.split():
        return []
    return list(json.loads(docker(["container", "inspect", *listed.stdout.split()]).stdout or "[]"))


def inspect_image(reference: str) -> dict[str, Any] | None:
    """The image as the engine inspects it, None when it is not on the host."""
    if engine_api.socket_path() is not None:
        status, document = engine_api.get(f"/images/{quote(reference, safe='/:@')}/json")
        return document if status == 200 else None
    done = docker(["image", "inspect", reference])
    return json.loads(done.stdout)[0] if done.exit_code == 0 else None
