# SPDX-License-Identifier: Apache-2.0
"""Whatever goes wrong is answered as a problem document, and leaks nothing."""

from __future__ import annotations

import base64
import json
import logging
from typing import Any

import pytest
from flask import Flask
from psycopg.errors import DeadlockDetected, SerializationFailure
from sqlalchemy.exc import OperationalError

from controlplane.api.app import create_app
from controlplane.api.auth import public
from controlplane.domain.errors import Problem
from controlplane.services.core import Core
from tests.api.people import Caller, People

FIELDS = {"type", "title", "status", "detail", "instance", "error_key", "hint", "errors"}
PREVIEW = "/deploy/releases/preview"


def check(answer: Any, status: int, error_key: str) -> dict[str, Any]:
    """Hold an answer to be a whole problem document."""
    assert answer.status_code == status, answer.text
    assert answer.content_type == "application/problem+json"
    document: dict[str, Any] = answer.json
    assert document.keys() >= FIELDS
    assert (document["error_key"], document["status"]) == (error_key, status)
    assert document["hint"] and document["instance"] == answer.request.path
    return document


@pytest.fixture
def app(core: Core) -> Flask:
    """An application of the test's own: it is given a route."""
    return create_app(core)


def test_an_unknown_path_or_method_is_a_problem(admin: Caller) -> None:
    check(admin.get("/nothing"), 404, "not_found")
    answer = admin.delete("/jobs")
    check(answer, 405, "method_not_allowed")
    assert "GET" in answer.headers["Allow"]


@pytest.mark.parametrize(
    "body",
    [
        b"{", b"\xff", b"[]", b'"x"', b"{}", b'{"target_id": 1, "service": "s"}', b'{"target_id": NaN}', b"[" * 100_000,
        b'{"target_id": "t", "service": "a\\u0000b"}', b'{"target_id": "t", "service": "a\\ud800b"}',
        b'{"target_id": "t", "service": "s", "variables": {"n": 99999999999999999999999}}',
        b'{"target_id": "t", "service": "s", "variables": {"n": 1e999}}',
        b'{"target_id": "t", "service": "s", "surprise": 1}',
    ],
)  # fmt: skip
def test_a_body_that_no_service_should_see_is_refused(admin: Caller, body: bytes) -> None:
    check(admin.send("POST", PREVIEW, data=body, content_type="application/json"), 422, "validation_error")


def test_a_body_of_another_kind_or_size_is_refused(admin: Caller) -> None:
    check(admin.send("POST", PREVIEW, data=b"{}", content_type="text/plain"), 415, "unsupported_media_type")
    big = b'"' + b"x" * 9_000_000 + b'"'
    check(admin.send("POST", PREVIEW, data=big, content_type="application/json"), 413, "payload_too_large")


@pytest.mark.parametrize(
    "query",
    [{"limit": "0"}, {"limit": "x"}, {"limit": "9" * 30}, {"cursor": "?"}, {"sort": "x"}, {"who": "1"}],
)
def test_a_query_that_is_not_understood_is_refused(admin: Caller, query: dict[str, str]) -> None:
    assert check(admin.get("/jobs", **query), 422, "validation_error")["errors"]


def test_a_nul_in_a_path_names_nothing(admin: Caller) -> None:
    check(admin.get("/jobs/a%00b"), 404, "not_found")


def test_a_fault_of_ours_tells_the_log_and_not_the_caller(
    app: Flask, anonymous: Any, caplog: pytest.LogCaptureFixture
) -> None:
    @public
    def broken() -> str:
        raise RuntimeError("the password is hunter2")

    app.add_url_rule("/broken", "broken", broken)
    with caplog.at_level(logging.ERROR):
        answer = anonymous.get("/broken", headers={"X-Request-ID": "abc-1"})
    check(answer, 500, "internal_error")
    assert "hunter2" not in answer.text
    assert "hunter2" in caplog.text
    assert answer.json["request_id"] == answer.headers["X-Request-ID"] == "abc-1"


@pytest.mark.parametrize("cause", [DeadlockDetected(), SerializationFailure()])
def test_a_change_that_the_database_undid_for_another_is_a_conflict(
    app: Flask, anonymous: Any, cause: Exception
) -> None:
    @public
    def undone() -> str:
        raise OperationalError("UPDATE", {}, cause)

    app.add_url_rule("/undone", "undone", undone)
    check(anonymous.get("/undone"), 409, "conflict")


def test_a_request_id_that_is_not_well_formed_is_replaced(anonymous: Any) -> None:
    for offered in ("", "a b", "x" * 65, "é"):
        assert (
            anonymous.get("/healthz", headers={"X-Request-ID": offered})
            .headers["X-Request-ID"]
            .startswith("req_")
        )


def test_who_holds_the_permission_nowhere_is_refused_and_that_is_an_event(
    people: People, admin: Caller
) -> None:
    viewer = people.add("viewer", "viewer")
    answer = viewer.send("GET", "/audit/head", headers={"X-Request-ID": "look-1"})
    check(answer, 403, "permission_denied")
    events = admin.get("/events", action="access.denied").json["items"]
    assert [(event["actor_id"], event["request_id"]) for event in events] == [(viewer.id, "look-1")]


def test_every_problem_has_a_document() -> None:
    assert Problem("not_found").document("/x").keys() >= FIELDS


ODD_CURSORS: list[list[Any]] = [
    ["abc", "x"],
    [{"time": "2026-01-01T00:00:00"}, "x"],
    [{"time": "0001-01-01T00:00:00+09:00"}, "x"],
    [10**30, "x"],
    [None, "x"],
    ["a", 3],
    ["\ud800", "x"],
    ["a\0", "x"],
]


@pytest.mark.parametrize("at", ODD_CURSORS)
@pytest.mark.parametrize(("path", "sort"), [("/projects", "name"), ("/jobs", "-created_at")])
def test_a_cursor_that_is_none_is_refused(admin: Caller, path: str, sort: str, at: list[Any]) -> None:
    cursor = base64.urlsafe_b64encode(json.dumps([sort, *at]).encode()).decode().rstrip("=")
    if (path, at) == ("/projects", ["abc", "x"]):
        assert admin.get(path, cursor=cursor, sort=sort).status_code == 200
    else:
        assert check(admin.get(path, cursor=cursor, sort=sort), 422, "validation_error")["errors"].keys() == {
            "cursor"
        }
