# SPDX-License-Identifier: Apache-2.0
"""What a job touches, and whose turn it is. Locks are by the resources touched, not by what is run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Claim:
    """A job that is not done: `holds` says that it runs (or is paused) now. Given in the order they were asked."""

    job_id: str
    resources: frozenset[str]
    holds: bool


def host(host_id: str) -> str:
    """Return the name of a host as a resource."""
    return f"host:{host_id}"


def namespace(cluster_id: str, name: str) -> str:
    """Return the name of a cluster's namespace as a resource."""
    return f"namespace:{cluster_id}/{name}"


def cluster(cluster_id: str) -> str:
    """Return the name of what a cluster has outside of its namespaces as a resource."""
    return f"cluster:{cluster_id}"


def blocker(job_id: str, resources: Iterable[str], claims: Sequence[Claim]) -> str | None:
    """Return the job that this one waits for, or None when it is its turn.

    A job waits for whoever holds one of its resources, and for whoever asked for one of them before it:
    overtaking would starve a job that needs many.
    """
    wanted = frozenset(resources)
    is_before = True
    for claim in claims:
        if claim.job_id == job_id:
            is_before = False
        elif (claim.holds or is_before) and wanted & claim.resources:
            return claim.job_id
    return None
