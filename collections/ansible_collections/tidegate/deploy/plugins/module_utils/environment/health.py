# SPDX-License-Identifier: Apache-2.0
"""Whether a host of an environment does its work now. Nothing that is done to find out stays."""

from __future__ import annotations

from typing import Any, Dict, List

from ..release.errors import ReleaseError
from . import compose_environment, kubectl
from .journal import Journal, run


def look() -> List[Dict[str, Any]]:
    """Answer the checks of a host, as what was installed there has them: [{"check", "healthy", "message", "hint"}]."""
    return _node() if Journal().find("unit", "kubelet.service") else _compose_host()


def _node() -> List[Dict[str, Any]]:
    found = [_unit(name) for name in ("containerd.service", "kubelet.service")]
    if not kubectl.is_there():
        return found
    try:
        kubectl.tell("get", "--raw", "/readyz")
        found.append(_check("api_server", True, "it is ready"))
        ill = {one["name"]: one["message"] for one in kubectl.nodes() if not one["ready"]}
    except ReleaseError as error:
        return [*found, _check("api_server", False, str(error), error.hint)]
    said = "; ".join(f"{name}: {message}" for name, message in sorted(ill.items())) or "all are ready"
    return [*found, _check("nodes", not ill, said, "See the kubelet's log on the node." if ill else "")]


def _unit(name: str) -> Dict[str, Any]:
    state = run("systemctl", "is-active", name).stdout.strip() or "unknown"
    hint = "" if state == "active" else f"See `systemctl status {name}` and its journal."
    return _check(name.partition(".")[0], state == "active", state, hint)


def _compose_host() -> List[Dict[str, Any]]:
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
