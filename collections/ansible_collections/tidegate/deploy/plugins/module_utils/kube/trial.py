# SPDX-License-Identifier: Apache-2.0
"""What a server would make of an object: applied as a dry run, and what is said against it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..release.errors import ReleaseError
from . import comparison, field_owners, kinds, ownership
from .api_problem import is_immutable, problem
from .cluster import Cluster
from .session import ApiError


@dataclass
class Trial:
    """`result` is None where the server could not be asked; `replaced` says that the object must be made anew."""

    result: dict[str, Any] | None = None
    conflicts: list[dict[str, str]] = field(default_factory=list)
    error: ReleaseError | None = None
    replaced: bool = False


def candidate(
    thing: Mapping[str, Any], live: Mapping[str, Any] | None, project: str, release_id: str
) -> dict[str, Any]:
    """The object to be tried: with the release that made the live one, so that this alone is no change."""
    return ownership.labelled(thing, project, (ownership.release_of(live) if live else None) or release_id)


def attempt(cluster: Cluster, thing: Mapping[str, Any], title: str) -> Trial:
    """Try to apply; conflicts are told, and the trial goes on as if they were forced."""
    found = Trial()
    try:
        found.result = cluster.apply(thing, force=False, dry_run=True)
    except ApiError as error:
        found.conflicts = field_owners.conflicts(error.document) if error.status == 409 else []
        if not found.conflicts:
            return _refused(error, thing, title)
        try:
            found.result = cluster.apply(thing, force=True, dry_run=True)
        except ApiError as other:
            refused = _refused(other, thing, title)
            refused.conflicts = found.conflicts
            return refused
    return found


def is_unchanged(trial: Trial, live: Mapping[str, Any] | None) -> bool:
    """Would nothing come of it: not even another owner of a field?"""
    return bool(live and trial.result and not trial.conflicts and comparison.is_same(live, trial.result))


def _refused(error: ApiError, thing: Mapping[str, Any], title: str) -> Trial:
    one = kinds.ref(thing)
    if is_immutable(error) and (one.group, one.kind) == ("batch", "Job"):
        return Trial(replaced=True)
    return Trial(error=problem(error, title))
