# SPDX-License-Identifier: Apache-2.0
"""What every service function works with: the database, the ports and the settings, put together by `bootstrap`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from controlplane.ports.artifacts import ArtifactStore
from controlplane.ports.clock import Clock
from controlplane.ports.cluster_probe import ClusterProbe
from controlplane.ports.probe import HostProbe
from controlplane.ports.queue import Queue
from controlplane.ports.vault import Vault
from controlplane.store.session import Database

if TYPE_CHECKING:
    from controlplane.settings import Settings


# What a door keeps of its own about what a service makes, under the id that it gets: written in the same transaction.
Beside = Callable[[Session, str], None]


@dataclass(frozen=True)
class Core:
    """One installation, as the services see it."""

    settings: Settings
    database: Database
    clock: Clock
    vault: Vault
    queue: Queue
    artifacts: ArtifactStore
    probe: HostProbe
    cluster_probe: ClusterProbe
