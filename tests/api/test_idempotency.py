# SPDX-License-Identifier: Apache-2.0
"""A POST that is sent again gets the first answer, and its work is done once."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from controlplane.api.app import create_app
from controlplane.api.auth import authenticated
from controlplane.api.idempotency import idempotent
from controlplane.domain.errors import Problem
from controlplane.services.core import Core
from controlplane.store.tables import IdempotentAnswer
from tests.api.people import API, Caller, People


class Counted:
    """A route that counts how often its work is done."""

    def __init__(self, app: Flask) -> None:
        self.calls = 0
        self.seconds = 0.0
        self.problems: list[str] = []
        app.add_url_rule(f"{API}/counted", "counted", authenticated(idempotent(self._work)), methods=["POST"])

    def _work(self) -> Any:
        self.calls += 1
        time.sleep(self.seconds)
        if self.problems:
            raise Problem(self.problems.pop(0))
        return {"call": self.calls, "token": "tg_shown_once"}, 201


@pytest.fixture
def app(core: Core) -> Flask:
    """An application of the test's own: it is given a route."""
    return create_app(core)


@pytest.fixture
def counted(app: Flask) -> Counted:
    """The route, on this application."""
    return Counted(app)


@pytest.fixture
def send(admin: Caller, counted: Counted) -> Callable[..., Any]:
    """Send a request with a key."""
    return lambda key="k-1", body=None: admin.post("/counted", body or {}, {"Idempotency-Key": key})


def test_a_repeat_gets_the_first_answer(send: Callable[..., Any], counted: Counted) -> None:
    first, again = send(), send()
    assert (again.status_code, again.json) == (first.status_code, first.json) == (201, first.json)
    assert again.headers["Idempotency-Replayed"] == "true" and "Idempotency-Replayed" not in first.headers
    assert counted.calls == 1
    assert send("k-2").json["call"] == 2


def test_the_key_is_of_one_request_of_one_person(
    send: Callable[..., Any], counted: Counted, people: People
) -> None:
    send()
    answer = send(body={"other": True})
    assert (answer.status_code, answer.json["error_key"]) == (422, "idempotency_key_reused")
    other = people.add("other", "viewer")
    assert other.post("/counted", {}, {"Idempotency-Key": "k-1"}).json["call"] == 2


def test_of_two_at_once_one_works_and_both_get_its_answer(send: Callable[..., Any], counted: Counted) -> None:
    counted.seconds = 0.5
    answers: list[Any] = []
    threads = [threading.Thread(target=lambda: answers.append(send())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counted.calls == 1
    assert [answer.json["call"] for answer in answers] == [1] * 4


def test_a_refusal_is_kept_and_a_failure_is_not(send: Callable[..., Any], counted: Counted) -> None:
    counted.problems = ["ssh_unreachable", "ticket_decided"]
    assert send().status_code == 502
    assert send().status_code == 409
    assert send().json["error_key"] == "ticket_decided"
    assert counted.calls == 2


def test_a_first_that_takes_too_long_is_a_conflict(
    send: Callable[..., Any], counted: Counted, core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controlplane.api.idempotency.WAIT_SECONDS", 0.1)
    counted.seconds = 1.0
    first = threading.Thread(target=send)
    first.start()
    time.sleep(0.4)
    assert send().json["error_key"] == "conflict"
    first.join()


def test_an_answer_is_kept_encrypted(send: Callable[..., Any], core: Core) -> None:
    send()
    with core.database.read() as session:
        row = session.scalars(select(IdempotentAnswer)).one()
    assert "tg_shown_once" not in json.dumps(row.body)


def test_a_key_must_be_visible_ascii(send: Callable[..., Any]) -> None:
    assert send("a b").status_code == send("x" * 121).status_code == 422
