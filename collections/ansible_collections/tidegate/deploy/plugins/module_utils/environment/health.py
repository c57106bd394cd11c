# SPDX-License-Identifier: Apache-2.0
"""Whether a host of an environment does its work now. Nothing that is done to find out stays."""

from __future__ import annotations

from typing import Any, Dict, List

from ..release.errors import ReleaseError
from . import compose_environment
from .journal import Journal, run


def look() -> List[Dict[str, Any]]:
    """Answer the checks of a Compose host: [{"check", "healthy", "message", "hint"}]."""
    engine = run("docker", "version", "--format", "{{.Server.Version}}", timeout=30)
    if engine.returncode != 0:
        said = engine.stderr.strip()[-500:] or "it does not answer"
        return [_check("engine", False, said, "See `systemctl status docker` and its journal.")]
    found = [_check("engine", True, f"version {engine.stdout.strip()}")]
    try:
        found.append(_check("compose", True, f"version {compose_environment.require_version()}"))
    except ReleaseError as error:
        found.append(_check("compose", False, str(error), error.hint))
    images = [entry["name"] for entry in Journal().entries if entry["kind"] == "image"]
    if images:
        found.append(_container(images[0]))
    return found


def _container(reference: str) -> Dict[str, Any]:
    try:
        compose_environment.try_container(reference)
    except ReleaseError as error:
        hint = error.hint or "Install the environment again: it loads the image, and changes nothing else."
        return _check("container", False, str(error), hint)
    return _check("container", True, f"one of {reference} runs and stops")


def _check(name: str, healthy: bool, message: str, hint: str = "") -> Dict[str, Any]:
    return {"check": name, "healthy": healthy, "message": message, "hint": hint}
