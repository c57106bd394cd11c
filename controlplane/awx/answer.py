# SPDX-License-Identifier: Apache-2.0
"""Answers and refusals in the shapes that AWX's clients read: `detail`, or a list of texts by field with a 400."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Response, request

from controlplane.api.parser import check_value, read_json
from controlplane.api.request_id import current_request_id
from controlplane.domain.errors import Problem

# What is wrong with the request is a 400 to AWX's clients; they read the others as we mean them.
_BAD_REQUEST = (409, 422)
_KEPT = frozenset({"release_state_invalid", "conflict"})


def json_answer(document: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a document as AWX would send it."""
    return Response(json.dumps(document), status=status, headers=headers, content_type="application/json")


def refusal(problem: Problem) -> Response:
    """Return a problem as AWX tells of it: the members of the problem document, and each field's errors beside them."""
    status = problem.status
    if status == 422 or (status in _BAD_REQUEST and problem.error_key not in _KEPT):
        status = 400
    document = {**_by_field(problem), **problem.document(request.path), "request_id": current_request_id()}
    document["status"] = status
    answer = json_answer(document, status)
    if status == 401:
        answer.headers["WWW-Authenticate"] = 'Bearer realm="tidegate"'
    if status == 429:
        answer.headers["Retry-After"] = str(problem.extra.get("retry_after", 1))
    return answer


def _by_field(problem: Problem) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, said in problem.errors.items():
        texts = said if isinstance(said, list) else [str(said)]
        variable = name.removeprefix("variables.")
        if variable == name:
            fields[name] = texts
        elif any("has no value" in text for text in texts):
            fields.setdefault("variables_needed_to_start", []).extend(
                f"'{variable}' {text}" for text in texts
            )
        else:
            fields.setdefault("extra_vars", []).extend(f"'{variable}' {text}" for text in texts)
    return fields


def translated(view: Callable[..., Response]) -> Callable[..., Response]:
    """Let a view raise problems and answer in AWX's shape; stands inside `idempotent`, which keeps answers."""

    @wraps(view)
    def answering(*args: Any, **kwargs: Any) -> Response:
        try:
            return view(*args, **kwargs)
        except Problem as problem:
            return refusal(problem)

    return answering


def body() -> dict[str, Any]:
    """Return the request's JSON object, or its form; an empty one where nothing was sent.

    Raises:
        Problem: `validation_error`, `unsupported_media_type`.
    """
    raw = request.get_data(cache=True)
    if request.mimetype in ("application/x-www-form-urlencoded", "multipart/form-data"):
        sent: Any = request.form.to_dict()
        check_value(sent)
    elif not raw.strip():
        sent = {}
    elif request.mimetype and request.mimetype != "application/json":
        raise Problem("unsupported_media_type", "the body must be application/json")
    else:
        sent = read_json(raw)
    if not isinstance(sent, dict):
        raise Problem("validation_error", errors={"__all__": ["must be an object"]})
    return sent
