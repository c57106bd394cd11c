# SPDX-License-Identifier: Apache-2.0
"""`/healthz`: the process lives. `/readyz`: it can do its work: database there and migrated, room on the disk."""

from __future__ import annotations

import logging
import shutil

from flask import Blueprint, Response, jsonify
from sqlalchemy.exc import SQLAlchemyError

from controlplane.api.auth import current_core, public
from controlplane.services.core import Core
from controlplane.store import migrate

LEAST_FREE_BYTES = 200 * 1024 * 1024
blueprint = Blueprint("health", __name__)
log = logging.getLogger(__name__)


@blueprint.get("/healthz")
@public
def healthz() -> Response:
    """Answer while the process lives."""
    return jsonify({"status": "ok"})


@blueprint.get("/readyz")
@public
def readyz() -> tuple[Response, int]:
    """Answer 200 when work can be done, 503 with what is amiss when it cannot."""
    core = current_core()
    checks = {"database": _database(core), "disk": _disk(core)}
    is_ready = all(value == "ok" for value in checks.values())
    return jsonify(
        {"status": "ready" if is_ready else "not ready", "checks": checks}
    ), 200 if is_ready else 503


def _database(core: Core) -> str:
    try:
        return "ok" if migrate.is_current(core.database.engine) else "not migrated: tidegate db upgrade"
    except SQLAlchemyError:
        log.warning("the database cannot be reached", exc_info=True)
        return "unreachable"


def _disk(core: Core) -> str:
    free = shutil.disk_usage(core.settings.home).free
    return "ok" if free >= LEAST_FREE_BYTES else f"only {free // 2**20} MiB are free"
