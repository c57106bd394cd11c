# SPDX-License-Identifier: Apache-2.0
"""An application on a SQLite database of its own, and people who ask it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from controlplane import bootstrap
from controlplane import settings as configuration
from controlplane.adapters import vault
from controlplane.services.core import Core
from tests.api.application import application
from tests.api.people import Caller, People


@pytest.fixture
def core(tmp_path: Path, migrated_sqlite: Path) -> Iterator[Core]:
    """An installation of its own: SQLite, embedded queue, folders below the test's own."""
    settings = configuration.load({"TIDEGATE_HOME": str(tmp_path / "home")})
    settings.make_folders()
    vault.init_keys(settings.key_file)
    shutil.copyfile(migrated_sqlite, settings.home / "tidegate.db")
    core = bootstrap.build_core(settings)
    yield core
    core.queue.close()
    core.database.engine.dispose()


@pytest.fixture
def app(core: Core) -> Flask:
    """The application of that installation."""
    return application(core)


@pytest.fixture
def people(core: Core, app: Flask) -> People:
    """Makes users with roles and tokens."""
    return People(core, app)


@pytest.fixture
def admin(people: People) -> Caller:
    """Somebody who may do everything, everywhere."""
    return people.add("admin", role="admin")


@pytest.fixture
def anonymous(app: Flask) -> Any:
    """Flask's own test client, with no token."""
    return app.test_client()
