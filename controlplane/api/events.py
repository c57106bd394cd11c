# SPDX-License-Identifier: Apache-2.0
"""`/api/v1/events`: everything that happened and that the caller may see. DESIGN section 6."""

from __future__ import annotations

from typing import Any

from flask import Response
from marshmallow import Schema, fields, validate

from controlplane.api import schema, sse
from controlplane.api.auth import authenticated, current_actor, current_core
from controlplane.api.blueprint import Blueprint
from controlplane.api.header import understands
from controlplane.domain.event import STATUSES
from controlplane.domain.permission import EVENT_SOURCES
from controlplane.services import timeline

blueprint = Blueprint("events", __name__, url_prefix="/events", description="What happened, in order.")


class EventSchema(schema.AnswerSchema):
    """An event. `seq` grows by commit order: a reader that resumes after it misses nothing."""

    seq = fields.Integer(required=True, metadata={"example": 17})
    event_id = schema.text(example="evt_01jd2k3m4n5p6q7r8s9tavbwcx")
    action = schema.text(example="release.applied")
    resource_type = schema.text(example="release")
    resource_id = schema.text(example="rel_01jd2k3m4n5p6q7r8s9tavbwcx")
    project_id = schema.text(nullable=True)
    team_id = schema.text(nullable=True)
    environment_id = schema.text(nullable=True)
    actor_id = schema.text()
    actor_type = schema.text(example="user")
    source = fields.String(required=True, metadata={"enum": list(EVENT_SOURCES)})
    status = fields.String(required=True, metadata={"enum": sorted(STATUSES)})
    occurred_at = schema.time()
    request_id = schema.text(nullable=True)
    detail = schema.document()


_FILTERS: dict[str, Any] = {
    "resource_type": schema.word_filter("As in `release`."),
    "resource_id": schema.id_filter("Id of what it is about."),
    "project_id": schema.id_filter("The project."),
    "environment_id": schema.id_filter("The environment."),
    "action": schema.word_filter("As in `release.applied`."),
    "actor_id": schema.id_filter("Who did it."),
    "source": fields.String(validate=validate.OneOf(EVENT_SOURCES)),
    "status": fields.String(validate=validate.OneOf(sorted(STATUSES))),
}
EventArgs: type[Schema] = schema.SeqArgs.from_dict(_FILTERS, name="EventArgs")
EventStreamArgs: type[Schema] = sse.StreamArgs.from_dict(_FILTERS, name="EventStreamArgs")


def _filters(query: dict[str, Any]) -> dict[str, str]:
    return {name: query[name] for name in _FILTERS if name in query}


@blueprint.route("")
@authenticated
@blueprint.arguments(EventArgs, location="query")
@blueprint.response(200, schema.positions_of(EventSchema))
def list_events(query: dict[str, Any]) -> dict[str, Any]:
    """Read on in the events that the caller may see."""
    return timeline.of_all(current_core(), current_actor(), _filters(query), query["after"], query["limit"])


@blueprint.route("/stream")
@authenticated
@blueprint.arguments(EventStreamArgs, location="query")
@understands(sse.LAST_EVENT_ID)
@blueprint.response(200, {"type": "string"}, content_type=sse.MEDIA_TYPE)
def stream_events(query: dict[str, Any]) -> Response:
    """Follow events as server-sent events, from now on unless `after` or Last-Event-ID says otherwise."""
    return sse.answer(sse.EventStream(current_core(), current_actor(), _filters(query)), query)
