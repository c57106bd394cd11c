# SPDX-License-Identifier: Apache-2.0
"""Log lines as JSON, one a line on standard error, each with the id of the request that it belongs to."""

from __future__ import annotations

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime

current_request: ContextVar[str | None] = ContextVar("current_request", default=None)
_FIELDS = ("request_id", "route", "method", "status", "duration_ms", "actor_id", "job_id", "release_id")


class JsonFormatter(logging.Formatter):
    """Writes time, level, logger, message, the fields that a call gave by `extra`, and the traceback if any."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        given = {name: getattr(record, name) for name in _FIELDS if hasattr(record, name)}
        line.update({"request_id": current_request.get(), **given})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps({name: value for name, value in line.items() if value is not None}, default=str)


def configure(level: str = "INFO") -> None:
    """Send all logging of this process to standard error as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # The database's own driver and the HTTP client repeat what our lines say.
    for name in ("sqlalchemy.engine", "httpx", "alembic"):
        logging.getLogger(name).setLevel("WARNING")
