# SPDX-License-Identifier: Apache-2.0
"""One id a request: on its answer, in each log line, and on the events that it caused."""

from __future__ import annotations

import re

from flask import Flask, Response, g, request

from controlplane.domain.identifier import new_id
from controlplane.logging import request_id as logged_request_id

HEADER = "X-Request-ID"
_WELL_FORMED = re.compile(r"[A-Za-z0-9._:-]{1,64}")


def init_app(app: Flask) -> None:
    """Give each request its id: the caller's, when well-formed, else a new one."""
    app.before_request(_take)
    app.after_request(_answer)


def current_request_id() -> str:
    """Return the id of the request being answered."""
    if "request_id" not in g:
        _take()
    return str(g.request_id)


def _take() -> None:
    offered = request.headers.get(HEADER, "")
    g.request_id = offered if _WELL_FORMED.fullmatch(offered) else new_id("req")
    logged_request_id.set(g.request_id)


def _answer(response: Response) -> Response:
    response.headers[HEADER] = current_request_id()
    return response
