# SPDX-License-Identifier: Apache-2.0
"""Bringing a database to the tables that this version works with, and asking whether it is there already.

Alembic is imported only where something is migrated: a server that asks should not carry it in memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError, ProgrammingError

from controlplane.store.session import open_engine

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0001"
FOLDER = Path(__file__).parent / "migrations"
# Any number will do as long as nothing else of the database uses it: two upgrades at once take turns.
LOCK = 7_136_410


def upgrade(database_url: str) -> None:
    """Bring a database to the newest revision; nothing happens to one that is there."""
    from alembic import command

    engine = open_engine(database_url)
    try:
        with engine.execution_options(tidegate_writes=True).begin() as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
            config = configuration()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        engine.dispose()


def is_current(engine: Engine) -> bool:
    """Say whether a database is at the revision that this version works with.

    Raises:
        SQLAlchemyError: the database cannot be reached.
    """
    with engine.connect() as connection:
        try:
            found = connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all()
        except (ProgrammingError, OperationalError) as error:
            if "alembic_version" not in str(error.orig):
                raise
            return False
    return found == [HEAD]


def configuration() -> Config:
    """Return Alembic's configuration: it needs no ini file, so that an installed package can migrate."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    return config
