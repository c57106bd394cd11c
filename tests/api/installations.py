# SPDX-License-Identifier: Apache-2.0
"""Installations that were told something: what the settings let, tests of it can only see with another one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from controlplane import bootstrap
from controlplane import settings as configuration
from controlplane.adapters import vault
from controlplane.services.core import Core
from controlplane.store import migrate


@contextmanager
def installed(home: Path, **settings: str) -> Iterator[Core]:
    """Yield an installation with these settings, by the names of their variables without TIDEGATE_."""
    variables = {"TIDEGATE_HOME": str(home), **{f"TIDEGATE_{key}": value for key, value in settings.items()}}
    chosen = configuration.load(variables)
    chosen.make_folders()
    vault.init_keys(chosen.key_file)
    migrate.upgrade(chosen.database_url)
    core = bootstrap.build_core(chosen)
    yield core
    core.queue.close()
    core.database.engine.dispose()
