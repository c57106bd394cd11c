# SPDX-License-Identifier: Apache-2.0
"""Time, as the services ask for it."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Gives the present as an aware UTC datetime."""

    def now(self) -> datetime:
        """Return the present in UTC, with its time zone set."""
        ...
