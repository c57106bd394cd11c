# SPDX-License-Identifier: Apache-2.0
"""A log line a request: the route, never its query or its body, which may hold what must not be logged."""

from __future__ import annotations

import logging
import time

from flask import Flask, Response, g, request

from controlplane.api.request_id import current_request_id

log = logging.getLogger("tidegate.request")


def init_app(app: Flask) -> None:
    """Log each request when its answer is ready."""
    app.before_request(_start)
    app.after_request(_write)


def _start() -> None:
    g.started = time.monotonic()


def _write(response: Response) -> Response:
    actor = g.get("actor")
    log.info(
        "%s %s %d",
        request.method,
        request.path,
        response.status_code,
        extra={
            "request_id": current_request_id(),
            "route": request.url_rule.rule if request.url_rule else None,
            "method": request.method,
            "status": response.status_code,
            "duration_ms": round((time.monotonic() - g.get("started", time.monotonic())) * 1000, 1),
            "actor_id": actor.id if actor else None,
        },
    )
    return response
