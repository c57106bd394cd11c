# SPDX-License-Identifier: Apache-2.0
"""The services on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import databases
from tests.services import installation
from tests.services.installation import Installation


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Installation]:
    """An installation with a shop to release, on SQLite and on PostgreSQL."""
    made = installation.make(databases.with_tables(request, tmp_path), tmp_path, has_tables=True)
    yield made
    made.core.queue.close()
    made.core.database.engine.dispose()
