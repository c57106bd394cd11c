# SPDX-License-Identifier: Apache-2.0
"""The one place that knows which adapter is in use. Imports stay inside: a process carries what it works with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any

from controlplane.services.core import Core

if TYPE_CHECKING:
    from flask import Flask

    from controlplane.ports.artifacts import ArtifactStore
    from controlplane.ports.queue import Queue
    from controlplane.settings import Settings


# Doors beside the API that could be taken out without a trace. Each is a package with `open_door(app)`, and
# `SCHEDULED`: what is to be done about once a second.
DOORS = ("controlplane.awx",)


def open_doors(app: Flask) -> None:
    """Let the application answer for each door."""
    for door in _doors():
        door.open_door(app)


def scheduled() -> tuple[Callable[[Core], int], ...]:
    """Return what the doors have to be done by time."""
    return tuple(step for door in _doors() for step in door.SCHEDULED)


def _doors() -> Iterator[Any]:
    # By name, because a door stands above the API that it shares its bearers and problems with.
    return (import_module(name) for name in DOORS)


def build_core(settings: Settings) -> Core:
    """Put an installation together.

    Raises:
        KeyFileUnsafe: the key file is missing, published or readable by others.
    """
    from controlplane.adapters.clock import SystemClock
    from controlplane.adapters.cluster_probe import HttpsClusterProbe
    from controlplane.adapters.probe import SshProbe
    from controlplane.adapters.vault import FernetVault
    from controlplane.store.session import Database, open_engine

    settings.make_folders()
    return Core(
        settings=settings,
        database=Database(open_engine(settings.database_url)),
        clock=SystemClock(),
        vault=FernetVault(settings.key_file),
        queue=_queue(settings),
        artifacts=_artifacts(settings),
        probe=SshProbe(),
        cluster_probe=HttpsClusterProbe(settings.cluster_address_allow),
    )


def _artifacts(settings: Settings) -> ArtifactStore:
    if settings.artifact_url and settings.artifact_token:
        from controlplane.adapters.artifacts.http import HttpArtifacts

        return HttpArtifacts(
            settings.artifact_url,
            settings.artifact_token,
            settings.artifact_dir,
            settings.max_artifact_bytes,
            settings.artifact_cache_bytes,
        )
    from controlplane.adapters.artifacts.folder import FolderArtifacts

    return FolderArtifacts(settings.artifact_dir)


def _queue(settings: Settings) -> Queue:
    if settings.is_sqlite:
        from controlplane.adapters.queue.embedded import EmbeddedQueue

        return EmbeddedQueue(settings.home / "wake")
    from controlplane.adapters.queue.procrastinate import ProcrastinateQueue

    return ProcrastinateQueue(settings.database_url)
