# SPDX-License-Identifier: Apache-2.0
"""The migrations make the tables that the code works with, on both databases."""

from __future__ import annotations

from pathlib import Path
from threading import Thread

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from controlplane.store import migrate
from controlplane.store.session import open_engine
from controlplane.store.tables import Base


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/tidegate.db"
    return str(request.getfixturevalue("postgres_database"))


def test_an_upgraded_database_has_the_tables_of_the_code(database_url: str) -> None:
    migrate.upgrade(database_url)
    engine = open_engine(database_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_a_database_is_current_only_after_its_upgrade(database_url: str) -> None:
    engine = open_engine(database_url)
    assert not migrate.is_current(engine)
    migrate.upgrade(database_url)
    migrate.upgrade(database_url)
    assert migrate.is_current(engine)
    engine.dispose()


def test_two_upgrades_at_once_take_turns(database_url: str) -> None:
    failures: list[Exception] = []

    def upgrade() -> None:
        try:
            migrate.upgrade(database_url)
        except Exception as error:
            failures.append(error)

    threads = [Thread(target=upgrade) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_the_code_names_the_newest_revision() -> None:
    assert ScriptDirectory.from_config(migrate.configuration()).get_current_head() == migrate.HEAD
