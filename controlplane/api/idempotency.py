# SPDX-License-Identifier: Apache-2.0
"""`Idempotency-Key`: a request that is sent again gets the first answer, and its work is done once.

The answer is kept encrypted, because some answers carry a token that is shown once. A 5xx is not kept, nor is
a refusal of the request's shape: both may be tried again under the same key.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any, TypeVar, cast

from flask import Response, make_response, request
from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError

from controlplane.api import problem as problems
from controlplane.api.auth import current_actor, current_core
from controlplane.api.header import understands
from controlplane.domain.errors import Problem
from controlplane.domain.identifier import new_id
from controlplane.services.core import Core
from controlplane.store.tables import IdempotentAnswer

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
KEPT = timedelta(days=1)
# Longer than any request may take: whoever holds a key longer than this was killed.
ABANDONED = timedelta(minutes=10)
WAIT_SECONDS = 5.0
_WELL_FORMED = re.compile(r"[\x21-\x7e]{1,120}")
_NOT_KEPT = (400, 413, 415)

View = TypeVar("View", bound=Callable[..., Any])


def idempotent(view: View) -> View:
    """Let a POST be sent again. Stands between `requires` and `arguments`.

    Raises (in the route):
        Problem: `idempotency_key_reused` (the same key for another request), `conflict` (the first is still
            being worked on), `validation_error` (the key is not 1 to 120 visible ASCII characters).
    """

    @wraps(view)
    def once(*args: Any, **kwargs: Any) -> Any:
        key = request.headers.get(HEADER)
        if key is None:
            return view(*args, **kwargs)
        if not _WELL_FORMED.fullmatch(key):
            raise Problem("validation_error", errors={HEADER: ["must be 1 to 120 visible ASCII characters"]})
        core, actor_id, digest = current_core(), current_actor().id, _digest()
        row_id = _reserve(core, actor_id, key, digest)
        if row_id is None:
            return _wait_for_first(core, actor_id, key, digest)
        return _work(core, row_id, view, args, kwargs)

    once.__dict__["takes_key"] = True
    return cast(View, understands(_PARAMETER)(once))


_PARAMETER = {
    "in": "header",
    "name": HEADER,
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 120, "pattern": "^[!-~]+$"},
    "description": "A repeat with the same key and the same request returns the first answer, for a day.",
    "example": "deploy-4711",
}


def _work(core: Core, row_id: str, view: Callable[..., Any], args: Any, kwargs: Any) -> Response:
    try:
        response = make_response(view(*args, **kwargs))
    except Problem as problem:
        response = problems.answer(problem)
        if problem.error_key == "validation_error":
            _forget(core, row_id)
            return response
    except BaseException:
        _forget(core, row_id)
        raise
    if response.status_code >= 500 or response.status_code in _NOT_KEPT:
        _forget(core, row_id)
    else:
        _keep(core, row_id, response)
    return response


def _digest() -> str:
    """Cover method, path, query and body: what makes two requests the same request."""
    whole = hashlib.sha256()
    for part in (request.method.encode(), request.full_path.encode(), request.get_data(cache=True)):
        whole.update(len(part).to_bytes(8, "big") + part)
    return whole.hexdigest()


def _reserve(core: Core, actor_id: str, key: str, digest: str) -> str | None:
    """Return the id of a fresh row, or None where the key is taken: the unique constraint picks the first."""
    now = core.clock.now()
    row = IdempotentAnswer(
        id=new_id("idm"),
        actor_id=actor_id,
        key=key,
        request_digest=digest,
        status=0,
        body=None,
        created_at=now,
    )
    is_stale = (IdempotentAnswer.status == 0) & (IdempotentAnswer.created_at < now - ABANDONED)
    is_old = IdempotentAnswer.created_at < now - KEPT
    try:
        with core.database.write() as session:
            session.execute(delete(IdempotentAnswer).where(is_stale | is_old))
            session.add(row)
    except IntegrityError:
        return None
    return row.id


def _keep(core: Core, row_id: str, response: Response) -> None:
    answer = json.dumps({"type": response.content_type, "text": response.get_data(as_text=True)})
    cipher = base64.b64encode(core.vault.encrypt(answer.encode())).decode()
    with core.database.write() as session:
        session.execute(
            update(IdempotentAnswer)
            .where(IdempotentAnswer.id == row_id)
            .values(status=response.status_code, body={"cipher": cipher})
        )


def _forget(core: Core, row_id: str) -> None:
    with core.database.write() as session:
        session.execute(delete(IdempotentAnswer).where(IdempotentAnswer.id == row_id))


def _wait_for_first(core: Core, actor_id: str, key: str, digest: str) -> Response:
    until = time.monotonic() + WAIT_SECONDS
    while True:
        with core.database.read() as session:
            row = session.scalar(
                select(IdempotentAnswer).where(
                    IdempotentAnswer.actor_id == actor_id, IdempotentAnswer.key == key
                )
            )
        if row is not None and row.request_digest != digest:
            raise Problem("idempotency_key_reused")
        if row is not None and row.status:
            return _replay(core, row)
        if row is None or time.monotonic() > until:
            raise Problem(
                "conflict", "the first request with this Idempotency-Key is not answered; try again"
            )
        time.sleep(0.1)


def _replay(core: Core, row: IdempotentAnswer) -> Response:
    answer = json.loads(core.vault.decrypt(base64.b64decode((row.body or {})["cipher"])))
    response = Response(answer["text"], status=row.status, content_type=answer["type"])
    response.headers[REPLAYED] = "true"
    return response
