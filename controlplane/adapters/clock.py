# SPDX-License-Identifier: Apache-2.0
"""The machine's own time."""

from __future__ import annotations

from datetime import UTC, datetime


class SystemClock:
    """Reads the system's clock."""

    def now(self) -> datetime:
        """Return the present in UTC, with its time zone set."""
        return datetime.now(UTC)
