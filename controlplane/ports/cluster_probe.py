# SPDX-License-Identifier: Apache-2.0
"""Read-only looks at a Kubernetes cluster: what it is, what a credential may do there, what runs there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from controlplane.domain.cluster import Ability, Connection

LOOK_SECONDS = 15.0


@dataclass(frozen=True)
class Examined:
    """A connection whose certificates and key were read and written anew: nothing came along with them.

    `expires_at`: when its credential ends; None for a token that does not say.
    """

    connection: Connection
    expires_at: datetime | None


@dataclass(frozen=True)
class Reached:
    """What a cluster answered. `latency_ms` is one request on an open connection."""

    server_version: str
    latency_ms: float
    certificate_expires_at: datetime


@dataclass(frozen=True)
class ObjectPage:
    """Objects as the API server gives them; `next` is its own cursor, `remaining` what it says comes after."""

    items: Sequence[Mapping[str, Any]]
    next: str | None
    remaining: int


class ClusterProbe(Protocol):
    """Never changes a cluster, never follows one elsewhere.

    Whatever asks a cluster raises Problem: `endpoint_invalid` (it leads where none may), `cluster_unreachable`,
    `certificate_invalid` (its certificate, or ours to it), `cluster_permission_insufficient` (it does not know the
    credential, or does not let it ask). No detail holds a secret or what the other side wrote.
    """

    def examine(self, connection: Connection) -> Examined:
        """Read the certificates and the key; nothing is asked. Raises Problem `certificate_invalid`."""
        ...

    def subject(self, connection: Connection) -> str | None:
        """Return whom a client certificate names (RFC 4514), ended or not; None for a token. Nothing is asked.

        Raises:
            Problem: `certificate_invalid`.
        """
        ...

    def reach(self, connection: Connection, timeout: float = LOOK_SECONDS) -> Reached:
        """Connect, log in, ask for the version."""
        ...

    def abilities(
        self,
        connection: Connection,
        namespace: str | None,
        wanted: Sequence[Ability],
        timeout: float = LOOK_SECONDS,
    ) -> dict[Ability, bool]:
        """Return which of these the credential has in a namespace; in the whole cluster for None."""
        ...

    def has_namespace(self, connection: Connection, namespace: str, timeout: float = LOOK_SECONDS) -> bool:
        """Say whether there is that namespace, as far as the credential lets it be seen."""
        ...

    def page(
        self,
        connection: Connection,
        path: str,
        limit: int,
        after: str | None = None,
        timeout: float = LOOK_SECONDS,
    ) -> ObjectPage:
        """Return a page of a list such as `/api/v1/namespaces`.

        Raises:
            Problem: `validation_error` too, where the cluster no longer knows the cursor `after`.
        """
        ...
