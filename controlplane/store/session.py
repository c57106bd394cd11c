# SPDX-License-Identifier: Apache-2.0
"""Engines and transactions for SQLite and PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import QueuePool

# For locks that last microseconds (WAL recovery, checkpoints).
BUSY_MILLISECONDS = 20
WRITE_LOCK_SECONDS = 30.0
WRITE_LOCK_POLL = 0.005


def open_engine(url: str, pool_size: int = 10) -> Engine:
    """Return an engine for a database URL (`sqlite:///path` or `postgresql://...`).

    SQLite runs in WAL with `synchronous=FULL`: a committed decision survives a power cut. Each transaction
    that writes takes the write lock at its beginning (`BEGIN IMMEDIATE`), so that it can never fail to
    upgrade a read lock half way; readers are not held up by it.
    """
    if url.startswith("postgresql://"):
        url = url.replace("postgresql://", "postgresql+psycopg://", 1)
    if not url.startswith("sqlite"):
        return create_engine(url, pool_size=pool_size, max_overflow=20, pool_pre_ping=True)
    engine = create_engine(
        url, poolclass=QueuePool, pool_size=pool_size, max_overflow=50, connect_args={"timeout": 30}
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own BEGIN is switched off: it would come too late, before the first write only.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute(f"PRAGMA busy_timeout={BUSY_MILLISECONDS}")
    cursor.close()


def _begin_sqlite(connection: Any) -> None:
    if not connection.get_execution_options().get("tidegate_writes", False):
        connection.exec_driver_sql("BEGIN")
        return
    # Waited for here and not inside SQLite: in a server of green threads its wait would stop all of them,
    # the one that holds the lock included.
    until = time.monotonic() + WRITE_LOCK_SECONDS
    while True:
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            return
        except OperationalError as error:
            if "locked" not in str(error.orig) or time.monotonic() > until:
                raise
        time.sleep(WRITE_LOCK_POLL)


class Database:
    """Transactions: `read()` for looking, `write()` for one unit of work that commits as a whole or not at all."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.is_sqlite = engine.dialect.name == "sqlite"
        self._reading = sessionmaker(engine, expire_on_commit=False)
        self._writing = sessionmaker(engine.execution_options(tidegate_writes=True), expire_on_commit=False)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Yield a session for reading; nothing it does is kept."""
        # Closing rolls back and leaves what was read as it was read; an explicit rollback would expire it.
        with self._reading() as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Yield a session whose work is committed when the block ends, and undone when it raises."""
        with self._writing.begin() as session:
            yield session
