# SPDX-License-Identifier: Apache-2.0
"""What a bundle's index says of an install: which steps a host has, how long each may take, and with which inputs."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Set

from ..release.errors import ReleaseError

MASKED = "***"
_SECRET = re.compile(r"(^|_)(pass|password|passphrase|secret|token|key)$")
# Where the index says nothing.
_TIMEOUT_SECONDS = 900


class Limits(NamedTuple):
    """How long a step may take at a time, in seconds, and how often it is tried again."""

    timeout: int
    retries: int


class Input(NamedTuple):
    """An input as it is resolved; `origin` is request, profile or default."""

    name: str
    value: Any
    origin: str

    def shown(self) -> Dict[str, Any]:
        """As a preview shows it."""
        is_hidden = is_secret(self.name) and self.value is not None
        return {"name": self.name, "value": MASKED if is_hidden else self.value, "origin": self.origin}


def is_secret(name: str) -> bool:
    """Whether an input of this name is shown nowhere."""
    return bool(_SECRET.search(name))


def roles(spec: Mapping[str, Any], host: str, role: Optional[str]) -> Set[str]:
    """What a host is to the index's `runs_on`."""
    nodes = [one for one in spec.get("nodes") or [] if isinstance(one, Mapping)]
    own = role or next((str(one.get("role")) for one in nodes if one.get("host") == host), "compose_manager")
    found = {"all", own}
    planes = [one.get("host") for one in nodes if one.get("role") == "control_plane"]
    if own == "control_plane":
        found.add("first_control_plane" if not planes or planes[0] == host else "other_control_plane")
    return found


def is_meant(entry: Mapping[str, Any], runtime: Optional[str], its_roles: Set[str]) -> bool:
    """Whether a step or a check is for such a host."""
    runtimes = entry.get("runtime")
    return (not runtimes or not runtime or runtime in runtimes) and bool(
        set(entry.get("runs_on", ["all"])) & its_roles
    )


def steps(index: Mapping[str, Any], runtime: Optional[str], its_roles: Set[str]) -> List[Dict[str, Any]]:
    """The steps of a host, in the order of the index."""
    return [dict(one) for one in index["steps"] if is_meant(one, runtime, its_roles)]


def limits(index: Mapping[str, Any], name: str) -> Limits:
    """The limits of a step."""
    found: Mapping[str, Any] = next((one for one in index.get("steps") or [] if one["name"] == name), {})
    return Limits(int(found.get("timeout") or _TIMEOUT_SECONDS), int(found.get("retries") or 0))


def inputs(index: Mapping[str, Any], spec: Mapping[str, Any]) -> List[Input]:
    """The inputs of an install, by name: the request's win over the profile's, these over the platform's defaults.

    Raises ReleaseError validation_error for a profile, or an input, that the index does not know.
    """
    profiles = index.get("profiles") or {}
    named = spec.get("profile")
    if named is not None and named not in profiles:
        known = ", ".join(sorted(profiles)) or "none"
        raise ReleaseError("validation_error", f"profile: the bundle has no {named}; it has: {known}")
    asked = spec.get("inputs") or {}
    if not isinstance(asked, Mapping):
        raise ReleaseError("validation_error", "inputs: expected a mapping")
    unknown = sorted(set(asked) - _known(index))
    if unknown:
        raise ReleaseError(
            "validation_error", f"inputs: the bundle has no {', '.join(unknown)}", "See the bundle's index."
        )
    layers = (
        ("default", index.get("defaults") or {}),
        ("profile", profiles.get(named) or {}),
        ("request", asked),
    )
    found: Dict[str, Input] = {}
    for origin, values in layers:
        found.update({name: Input(name, value, origin) for name, value in values.items()})
    return [found[name] for name in sorted(found)]


def _known(index: Mapping[str, Any]) -> Set[str]:
    names = set(index.get("defaults") or {})
    for values in (index.get("profiles") or {}).values():
        names |= set(values)
    for step in index["steps"]:
        names |= set(step.get("inputs") or [])
    return names


def require_nodes(runtime: Optional[str], nodes: Sequence[Mapping[str, Any]]) -> None:
    """Let pass what can become an environment. Raises ReleaseError insufficient_nodes."""
    planes = sum(1 for one in nodes if one.get("role") == "control_plane")
    if runtime == "k8s" and nodes and planes not in (1, 3):
        raise ReleaseError(
            "insufficient_nodes",
            f"a cluster has one or three control planes, not {planes}",
            "Change the roles.",
        )
