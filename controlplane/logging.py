# SPDX-License-Identifier: Apache-2.0
"""Log lines as JSON objects, one a line, with the id of the request that caused them."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TextIO

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the request (or job) at work; set where work begins, read by every log line and event."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """Writes time (RFC 3339 UTC), level, logger, message, request_id, and what was given as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line; line breaks in the message stay inside its JSON string."""
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if identifier := request_id.get():
            line["request_id"] = identifier
        line.update(
            {key: value for key, value in vars(record).items() if key not in _STANDARD and key not in line}
        )
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = "".join(traceback.format_exception(*record.exc_info))
        return json.dumps(line, ensure_ascii=False, default=str)


def configure(level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send all logging to `stream` (standard error) as JSON. Calling it again replaces what was set."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # They tell each request and each queue job at INFO: what matters of it stands in our own lines.
    for name in ("httpx", "httpcore", "procrastinate", "alembic", "ansible-pylibssh"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
