# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from controlplane.cli import client as module
from controlplane.cli.client import ApiProblem, Client, Unreachable
from controlplane.cli.follow import release_events
from controlplane.cli.login_file import Login
from tests.cli.broken_server import answering, document, stream


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.001)
    monkeypatch.setattr("controlplane.cli.follow.FIRST_PAUSE_SECONDS", 0.001)


def test_a_post_that_got_no_answer_is_repeated_under_the_same_key() -> None:
    with answering(None, document(202, {"release_id": "rel_1"})) as server:
        answer = Client(Login(server.url, "tg_x")).post("/deploy/releases/apply", {"preview_ref": "prv_1"})
    assert answer == {"release_id": "rel_1"}
    keys = [headers["Idempotency-Key"] for _method, _path, headers in server.requests]
    assert len(keys) == 2 and keys[0] == keys[1]


def test_two_posts_have_two_keys() -> None:
    with answering(document(201, {}), document(201, {})) as server:
        client = Client(Login(server.url, None))
        client.post("/projects", {})
        client.post("/projects", {})
    first, second = (headers["Idempotency-Key"] for _method, _path, headers in server.requests)
    assert first != second


def test_a_change_that_has_no_key_is_not_repeated() -> None:
    with answering(None, document(200, {})) as server:
        with pytest.raises(Unreachable):
            Client(Login(server.url, None)).patch("/hosts/hst_1", {"port": 23})
    assert len(server.requests) == 1


def test_a_redirect_does_not_carry_the_token_away() -> None:
    with answering((302, "text/plain", b"")) as server:
        with pytest.raises(ApiProblem):
            Client(Login(server.url, "tg_secret")).get("/projects")
    assert len(server.requests) == 1


def test_pages_are_read_to_the_end_that_was_asked_for() -> None:
    first = {"items": [{"id": 1}, {"id": 2}], "next": "c", "total_estimate": 3}
    with answering(document(200, first), document(200, {"items": [{"id": 3}], "next": None})) as server:
        page = Client(Login(server.url, None)).pages("/projects", 10)
    assert [item["id"] for item in page["items"]] == [1, 2, 3]
    assert "cursor=c" in server.requests[1][1]


def test_a_broken_stream_goes_on_after_the_last_event_that_was_seen() -> None:
    def event(seq: int) -> tuple[str, dict[str, object]]:
        return "message", {"seq": seq, "action": "release.applying"}

    end = ("end", {"lifecycle_state": "applied"})
    with answering(stream(event(4), event(7)), None, stream(event(7), event(9), end)) as server:
        told = list(release_events(Client(Login(server.url, None)), "rel_1"))
    assert [one.document["seq"] for one in told[:-1]] == [4, 7, 9]
    assert told[-1].is_end and told[-1].document["lifecycle_state"] == "applied"
    assert [headers["Last-Event-ID"] for _method, _path, headers in server.requests] == ["0", "7", "7"]


def test_a_stream_that_may_not_be_read_ends_at_once() -> None:
    with answering(document(404, {"error_key": "release_not_found", "detail": "no"})) as server:
        with pytest.raises(ApiProblem):
            list(release_events(Client(Login(server.url, None)), "rel_1"))
