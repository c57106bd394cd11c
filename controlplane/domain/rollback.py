# SPDX-License-Identifier: Apache-2.0
"""The way a rollback goes: one that works where the undone release left things, and that stops for nobody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from controlplane.domain.errors import Problem

# What of a strategy's parameters says where the entry of a host is.
_ENTRY = ("port", "service", "service_port", "drain_seconds")


@dataclass(frozen=True)
class Way:
    """A strategy and its parameters."""

    strategy: str
    params: Mapping[str, Any]

    @property
    def moves_entry(self) -> bool:
        """Whether it releases beside what runs on a host, and moves the entry over."""
        return self.strategy == "blue_green" or (
            self.strategy == "canary" and self.params.get("mode") == "traffic"
        )


def way(runtime_type: str, goal: Way, undone: Way, force_conflicts: bool | None = None) -> Way:
    """Return how to go back to one release from another, with the health gate and without a canary's pause.

    Args:
        goal: how the release that is restored came there.
        undone: how the release that is undone did.
        force_conflicts: whether fields that others changed since are taken over; None is as the goal did.

    Raises:
        Problem: `validation_error`, where the runtime knows of no such thing.
    """
    if runtime_type == "k8s":
        return _forcing(_in_cluster(goal, undone), force_conflicts)
    if force_conflicts:
        said = f"is nothing that {runtime_type} has"
        raise Problem("validation_error", errors={"force_conflicts": [said]})
    return _on_hosts(goal, undone)


def _forcing(found: Way, force_conflicts: bool | None) -> Way:
    if force_conflicts is None or force_conflicts == bool(found.params.get("force_conflicts")):
        return found
    return Way(found.strategy, {**found.params, "force_conflicts": force_conflicts})


def _on_hosts(goal: Way, undone: Way) -> Way:
    """Behind an entry only what moves it reaches anybody; a host without one gets it from what has it."""
    for source in (goal, undone):
        if source.moves_entry:
            entry = {name: source.params[name] for name in _ENTRY if name in source.params}
            keeps = source.strategy == "blue_green" and source.params.get("keep_old", True)
            return Way("blue_green", {**entry, "keep_old": keeps})
    for source in (goal, undone):
        if source.strategy == "rolling":
            return Way("rolling", dict(source.params))
    return Way("rolling", {})


def _in_cluster(goal: Way, undone: Way) -> Way:
    """A cluster is rolled back in place, unless both releases were colours of a workload."""
    if goal.strategy == undone.strategy and goal.strategy != "canary":
        return Way(goal.strategy, dict(goal.params))
    if goal.strategy == "rolling":
        return Way("rolling", dict(goal.params))
    return Way("rolling", {name: goal.params[name] for name in ("force_conflicts",) if name in goal.params})
