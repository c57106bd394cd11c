# SPDX-License-Identifier: Apache-2.0
"""A door for tools that speak to AWX: its REST API, version 2, over Tidegate's own services.

It is a translation and no engine: what a client launches here is previewed, decided on, locked and told of like what
comes through any other door. `bootstrap.DOORS` is where it is let in; without that line nothing of it is there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from controlplane.awx import deliveries, launching, schedules
from controlplane.services.core import Core

if TYPE_CHECKING:
    from flask import Flask

SCHEDULED: tuple[Callable[[Core], int], ...] = (
    launching.ask_where_previewed,
    schedules.launch_due,
    deliveries.note_changes,
    deliveries.begin_deliveries,
)


def open_door(app: Flask) -> None:
    """Answer below `/api/` and `/api/v2/`."""
    # Here, because a worker has no use for it.
    from controlplane.awx import routes

    app.register_blueprint(routes.blueprint())
