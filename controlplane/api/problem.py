# SPDX-License-Identifier: Apache-2.0
"""Errors as answers: `application/problem+json` (RFC 9457), whatever went wrong. DESIGN section 10."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from flask import Flask, Response, request
from sqlalchemy.exc import DataError, IntegrityError, OperationalError
from werkzeug.exceptions import HTTPException

from controlplane.api.request_id import current_request_id
from controlplane.domain.errors import Problem

MEDIA_TYPE = "application/problem+json"
log = logging.getLogger(__name__)

_KEYS: Mapping[int, str] = {
    400: "validation_error",
    401: "authentication_required",
    403: "permission_denied",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    409: "conflict",
    413: "payload_too_large",
    414: "validation_error",
    415: "unsupported_media_type",
    422: "validation_error",
    429: "rate_limited",
    431: "validation_error",
}
# PostgreSQL: serialization_failure, deadlock_detected. Appendix A of its manual.
_UNDONE_FOR_OTHERS = ("40001", "40P01")
_KEPT_HEADERS = ("Allow", "Retry-After")


def init_app(app: Flask) -> None:
    """Turn whatever a view raises into a problem document."""
    app.register_error_handler(Problem, answer)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(DataError, _data)
    app.register_error_handler(IntegrityError, _integrity)
    app.register_error_handler(OperationalError, _operational)
    app.register_error_handler(Exception, _unexpected)


def answer(problem: Problem) -> Response:
    """Return the document of a problem, with the headers that its status asks for."""
    document = problem.document(request.path)
    document["request_id"] = current_request_id()
    response = Response(json.dumps(document), status=problem.status, content_type=MEDIA_TYPE)
    if problem.status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="tidegate"'
    if problem.status == 429:
        response.headers["Retry-After"] = str(problem.extra.get("retry_after", 1))
    return response


def _http(error: HTTPException) -> Response:
    code = error.code or 500
    if code < 400:
        return error.get_response()  # type: ignore[return-value]
    if code >= 500:
        return _unexpected(error)
    data: Mapping[str, Any] = getattr(error, "data", None) or {}
    problem = Problem(
        _KEYS.get(code, "validation_error"),
        "" if data else (error.description or ""),
        errors=_text_keys(data.get("errors") or data.get("messages") or {}),
    )
    problem.status = code
    response = answer(problem)
    given = error.get_response().headers
    for name in _KEPT_HEADERS:
        if name in given:
            response.headers[name] = given[name]
    return response


def _text_keys(messages: Any) -> Any:
    """Return nested validation messages with text keys: lists are reported by index, and JSON has no such key."""
    if isinstance(messages, Mapping):
        return {str(key): _text_keys(value) for key, value in messages.items()}
    return messages


def _data(error: DataError) -> Response:
    """A value that the column does not take got past the schemas: the caller's fault, and ours to look at."""
    log.warning("the database refused a value", exc_info=error)
    return answer(Problem("validation_error", "a value is too long or out of range"))


def _integrity(error: IntegrityError) -> Response:
    log.info("a constraint of the database refused the change", exc_info=error)
    return answer(Problem("conflict", "it conflicts with something that was made at the same moment"))


def _operational(error: OperationalError) -> Response:
    if getattr(error.orig, "sqlstate", None) in _UNDONE_FOR_OTHERS:
        log.warning("the database undid a transaction for the sake of another", exc_info=error)
        return answer(Problem("conflict", "it met another change of the same; nothing was done, ask again"))
    if "full" in str(error.orig):
        log.error("the database's disk is full")
        return answer(Problem("storage_full"))
    return _unexpected(error)


def _unexpected(error: Exception) -> Response:
    log.error("a request failed in a way that nobody thought of", exc_info=error)
    return answer(Problem("internal_error"))
