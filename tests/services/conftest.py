# SPDX-License-Identifier: Apache-2.0
"""The services on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services import installation
from tests.services.installation import Installation


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Installation]:
    """An installation with a shop to release, on SQLite and on PostgreSQL."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/tidegate.db"
    else:
        url = request.getfixturevalue("postgres_database")
    made = installation.make(url, tmp_path)
    yield made
    made.core.queue.close()
    made.core.database.engine.dispose()
