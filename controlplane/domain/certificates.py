# SPDX-License-Identifier: Apache-2.0
"""The certificates of a cluster's control planes: how long each lasts, whether they are to be rotated, what a preview
of that binds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from controlplane.domain.canonical import digest

KINDS = ("rotate",)
WITHIN_DAYS = 30
MOST_DAYS = 3650
# The one kind of a row that a rotation makes anew; the others are authorities, and what the kubelet renews itself.
RENEWED = "certificate"
_DAY = 86400.0
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Binding:
    """Everything that an apply is held to."""

    cluster_id: str
    stage: str
    kind: str
    nodes: Sequence[Mapping[str, str]]
    within_days: int
    fingerprints: Mapping[str, str]

    def digest(self) -> str:
        """Return the SHA-256 over all of it, as `sha256:...`."""
        return digest(asdict(self))


def rows_of(documents: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each host from what the hosts told; a host that has none tells of none."""
    return {
        host: [dict(row) for row in document.get("certificates") or [] if isinstance(row, Mapping)]
        for host, document in sorted(documents.items())
    }


def at(hosts: Mapping[str, Iterable[Row]], now: datetime) -> list[dict[str, Any]]:
    """Return what is known of each host's certificates, with the days that each has left now."""
    return [
        {"host": host, "certificates": [{**row, "days_left": days_left(row, now)} for row in rows]}
        for host, rows in sorted(hosts.items())
    ]


def days_left(row: Row, now: datetime) -> int | None:
    """Return whole days until a certificate ends, negative once it has; None for one that could not be read."""
    ends = ends_at(row)
    return None if ends is None else math.floor((ends - now).total_seconds() / _DAY)


def ends_at(row: Row) -> datetime | None:
    """Return when a certificate ends, None for one that could not be read."""
    try:
        found = datetime.fromisoformat(str(row.get("expires_at")))
    except ValueError:
        return None
    return found if found.tzinfo else None


def first_end(hosts: Mapping[str, Iterable[Row]]) -> datetime | None:
    """Return when the first certificate that a rotation renews ends; None where nothing is known of one."""
    ends = [ends_at(row) for rows in hosts.values() for row in rows if row.get("kind") == RENEWED]
    return min((moment for moment in ends if moment is not None), default=None)


def is_needed(first: datetime | None, within_days: int, now: datetime) -> bool:
    """Say whether a certificate ends within so many days. What is not known is not put off."""
    return first is None or (first - now).total_seconds() < within_days * _DAY
