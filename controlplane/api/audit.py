# SPDX-License-Identifier: Apache-2.0
"""`/api/v1/audit`: the head of the chain, its check, and a copy of all of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from flask import Response
from marshmallow import fields

from controlplane.api import schema
from controlplane.api.auth import current_actor, current_core, requires
from controlplane.api.blueprint import Blueprint
from controlplane.domain.permission import Permission
from controlplane.services import audit

MEDIA_TYPE = "application/x-ndjson"
_BATCH_BYTES = 64 * 1024

blueprint = Blueprint("audit", __name__, url_prefix="/audit", description="Proof of what happened.")


class HeadSchema(schema.AnswerSchema):
    """The newest event's place and hash: kept elsewhere, it proves later that nothing was rewritten."""

    seq = fields.Integer(required=True)
    hash = schema.text()


class VerifySchema(schema.AnswerSchema):
    """Whether the chain is whole, over how many events, and where it first breaks."""

    is_intact = fields.Boolean(required=True)
    events = fields.Integer(required=True)
    first_break = fields.Integer(required=True, allow_none=True)


@blueprint.route("/head")
@requires(Permission.AUDIT_READ)
@blueprint.response(200, HeadSchema)
def get_head() -> dict[str, Any]:
    """Read the head of the chain."""
    return audit.head(current_core(), current_actor())


@blueprint.route("/verify")
@requires(Permission.AUDIT_READ)
@blueprint.response(200, VerifySchema)
def verify_chain() -> dict[str, Any]:
    """Walk the whole chain."""
    return audit.verify(current_core(), current_actor())


@blueprint.route("/export")
@requires(Permission.AUDIT_READ)
@blueprint.response(200, {"type": "string"}, content_type=MEDIA_TYPE)
def export_events() -> Response:
    """Copy all events with their hashes: one JSON document a line, in order."""
    return Response(_lines(audit.export(current_core(), current_actor())), content_type=MEDIA_TYPE)


def _lines(rows: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    """Join lines into larger writes: one write a line costs more than the database does."""
    batch = bytearray()
    for row in rows:
        batch += json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"
        if len(batch) >= _BATCH_BYTES:
            yield bytes(batch)
            batch.clear()
    yield bytes(batch)
