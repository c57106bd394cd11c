# SPDX-License-Identifier: Apache-2.0
"""Databases with Tidegate's tables: made once in each process of tests, and copied for each test.

Making each table anew for each test was most of what tests of the services did.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane.store import migrate, tables
from controlplane.store.session import open_engine
from tests.postgres import drop_database, fresh_database


def with_tables(request: pytest.FixtureRequest, folder: Path) -> str:
    """Return the URL of a database of this test alone, of the kind that the fixture's parameter names."""
    if request.param == "sqlite":
        shutil.copyfile(request.getfixturevalue("tables_in_sqlite"), folder / "tidegate.db")
        return f"sqlite:///{folder}/tidegate.db"
    cluster, template = request.getfixturevalue("postgres_url"), request.getfixturevalue("tables_in_postgres")
    url = fresh_database(cluster, template)
    request.addfinalizer(lambda: drop_database(url))
    return url


@pytest.fixture(scope="session")
def tables_in_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of SQLite's with the tables and nothing in them."""
    file = tmp_path_factory.mktemp("tables") / "tidegate.db"
    _make_tables(f"sqlite:///{file}")
    return file


@pytest.fixture(scope="session")
def tables_in_postgres(postgres_url: str) -> Iterator[str]:
    """The URL of such a database on PostgreSQL, which nobody is connected to."""
    url = fresh_database(postgres_url)
    _make_tables(url)
    yield url
    drop_database(url)


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of SQLite's as `tidegate migrate` leaves it."""
    file = tmp_path_factory.mktemp("migrated") / "tidegate.db"
    migrate.upgrade(f"sqlite:///{file}")
    return file


def _make_tables(url: str) -> None:
    engine = open_engine(url)
    tables.Base.metadata.create_all(engine)
    engine.dispose()
