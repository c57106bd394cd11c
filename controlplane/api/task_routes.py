# SPDX-License-Identifier: Apache-2.0
"""The routes that every kind of task has: list, read, follow, retry, cancel. Which tasks, a `TaskRoutes` says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask import Response
from marshmallow import fields, validate

from controlplane.api import schema, sse
from controlplane.api.auth import current_actor, current_core, requires
from controlplane.api.blueprint import Blueprint
from controlplane.api.events import EventSchema
from controlplane.api.header import understands
from controlplane.api.idempotency import idempotent
from controlplane.api.jobs import LogLineSchema
from controlplane.api.prefer import asked_wait
from controlplane.domain.permission import Permission
from controlplane.services import tasks


class TaskLogSchema(schema.AnswerSchema):
    """What the newest job of a task printed."""

    items = fields.List(fields.Nested(LogLineSchema), required=True)
    next = fields.Integer(required=True, allow_none=True)
    job_id = schema.text(nullable=True)


class LogArgs(schema.SeqArgs):
    """Where to read on, and what for."""

    q = fields.String(
        validate=validate.Length(1, 200), metadata={"description": "Only lines with this text in them."}
    )


@dataclass(frozen=True)
class TaskRoutes:
    """Tasks of one subject, as the API shows them.

    `path` leads to their list below the blueprint's own; `name` and `plural` are those of the operations
    (`get_install_task`), `a_task` and `of` what people read (`a rotation`, `that rotate a cluster's certificates`).
    """

    blueprint: Blueprint
    subject: tasks.Subject
    path: str
    name: str
    plural: str
    a_task: str
    of: str
    reads: Permission
    changes: Permission
    filters: type[schema.PageArgs]
    row: type[schema.AnswerSchema]
    detail: type[schema.AnswerSchema]

    def register(self) -> None:
        """Add the routes."""
        self._list()
        self._read()
        self._logs()
        self._timeline()
        self._stream()
        self._retry()
        self._cancel()

    def previewed(self, task_id: str, where: str) -> tuple[dict[str, Any], int, Mapping[str, str]]:
        """Answer a preview that was asked for, once it is there or the caller waits no more."""
        wait = asked_wait()
        made = tasks.await_preview(current_core(), current_actor(), self.subject, task_id, wait.seconds)
        status = 202 if made["status"] == "previewing" else 201
        return made, status, {"Location": f"{where}{self.path}/{task_id}", **wait.headers}

    def applied(self, body: Mapping[str, Any], owner_id: str, kind: str) -> dict[str, Any]:
        """Start what a preview showed, or ask for the approval that policy wants."""
        ref = body.get("preview_ref")
        return tasks.apply(current_core(), current_actor(), self.subject, owner_id, ref, kind)

    def _list(self) -> None:
        @self.blueprint.route(self.path, endpoint=f"list_{self.plural}")
        @requires(self.reads)
        @self.blueprint.arguments(self.filters, location="query")
        @self.blueprint.response(200, schema.page_of(self.row))
        @_told(f"List the tasks {self.of}, newest first.")
        def list_tasks(query: dict[str, Any], **owner: str) -> Any:
            filters, page = schema.page_request(query)
            return tasks.list_(current_core(), current_actor(), self.subject, _id(owner), filters, page)

    def _read(self) -> None:
        @self.blueprint.route(self._of_one(), endpoint=f"get_{self.name}")
        @requires(self.reads)
        @self.blueprint.response(200, self.detail)
        @_told(f"Read {self.a_task} with its preview, its steps by host, and its jobs.")
        def get_task(task_id: str, **owner: str) -> dict[str, Any]:
            return tasks.get(current_core(), current_actor(), self.subject, task_id, _id(owner))

    def _logs(self) -> None:
        @self.blueprint.route(self._of_one("/logs"), endpoint=f"get_{self.name}_logs")
        @requires(self.reads)
        @self.blueprint.arguments(LogArgs, location="query")
        @self.blueprint.response(200, TaskLogSchema)
        @_told(f"Read on in what the newest job of {self.a_task} printed, or search it.")
        def get_logs(query: dict[str, Any], task_id: str, **owner: str) -> dict[str, Any]:
            core, actor = current_core(), current_actor()
            after, limit, text = query["after"], query["limit"], query.get("q")
            return tasks.logs(core, actor, self.subject, task_id, _id(owner), after, limit, text)

    def _timeline(self) -> None:
        @self.blueprint.route(self._of_one("/timeline"), endpoint=f"get_{self.name}_timeline")
        @requires(self.reads)
        @self.blueprint.arguments(schema.SeqArgs, location="query")
        @self.blueprint.response(200, schema.positions_of(EventSchema))
        @_told(f"Read on in the events of {self.a_task}.")
        def get_timeline(query: dict[str, Any], task_id: str, **owner: str) -> dict[str, Any]:
            core, actor = current_core(), current_actor()
            after, limit = query["after"], query["limit"]
            return tasks.timeline_of(core, actor, self.subject, task_id, _id(owner), after, limit)

    def _stream(self) -> None:
        @self.blueprint.route(self._of_one("/timeline/stream"), endpoint=f"stream_{self.name}_timeline")
        @requires(self.reads)
        @self.blueprint.arguments(sse.StreamArgs, location="query")
        @understands(sse.LAST_EVENT_ID)
        @self.blueprint.response(200, {"type": "string"}, content_type=sse.MEDIA_TYPE)
        @_told(
            f"Follow the events of {self.a_task} as server-sent events, from the beginning unless told otherwise.\n\n"
            "The stream ends with `event: end` once it has ended and everything was sent."
        )
        def stream_timeline(query: dict[str, Any], task_id: str, **owner: str) -> Response:
            core, actor = current_core(), current_actor()
            return sse.answer(sse.TaskStream(core, actor, self.subject, task_id, _id(owner)), query)

    def _retry(self) -> None:
        @self.blueprint.route(self._of_one("/retry"), endpoint=f"retry_{self.name}", methods=["POST"])
        @requires(self.changes)
        @idempotent
        @self.blueprint.response(202, self.row)
        @_told(
            f"Let {self.a_task} that failed go on at the step that failed; what is done is not done again.\n\n"
            "Problems: conflict, preview_stale."
        )
        def retry_task(task_id: str, **owner: str) -> dict[str, Any]:
            return tasks.retry(current_core(), current_actor(), self.subject, task_id, _id(owner))

    def _cancel(self) -> None:
        @self.blueprint.route(self._of_one("/cancel"), endpoint=f"cancel_{self.name}", methods=["POST"])
        @requires(self.changes)
        @idempotent
        @self.blueprint.response(202, self.row)
        @_told(
            f"Take {self.a_task} back: at once before it started, else its worker ends it. What was done stays."
        )
        def cancel_task(task_id: str, **owner: str) -> dict[str, Any]:
            return tasks.cancel(current_core(), current_actor(), self.subject, task_id, _id(owner))

    def _of_one(self, more: str = "") -> str:
        return f"{self.path}/<string:task_id>{more}"


def _id(owner: Mapping[str, str]) -> str:
    """Whose the tasks are: the one id that the blueprint's own path has."""
    (owner_id,) = owner.values()
    return owner_id


def _told(docstring: str) -> Any:
    """Give a view the words that the API's document has for it."""

    def decorate(view: Any) -> Any:
        view.__doc__ = docstring
        return view

    return decorate
