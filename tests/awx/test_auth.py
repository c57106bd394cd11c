# SPDX-License-Identifier: Apache-2.0
"""Who asks: tokens, names with passwords, and the session that `awx` opens with these."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controlplane.adapters import passwords
from controlplane.api import login_limit
from controlplane.api.app import create_app
from controlplane.store.tables import User
from tests.awx.conftest import Door

PASSWORD = "a password of nobody's"


@pytest.fixture
def named(door: Door) -> Door:
    """The door, with a password for its releaser."""
    with door.core.database.write() as session:
        session.get_one(User, door.releaser.caller.id).password_hash = passwords.hash_password(PASSWORD)
    return door


def log_in(client: Any, password: str = PASSWORD, following: str = "/api/", csrf: str | None = None) -> Any:
    client.get("/api/")
    cookie = client.get_cookie("csrftoken", path="/api/")
    assert cookie is not None
    form = {"username": "awx-releaser", "password": password, "next": following}
    return client.post("/api/login/", data=form, headers={"X-CSRFToken": csrf or cookie.value})


def csrf_of(client: Any) -> str:
    return str(client.get_cookie("csrftoken", path="/api/").value)


def test_a_session_is_opened_used_and_closed(named: Door) -> None:
    client = named.app.test_client()
    answer = log_in(client)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/api/")
    assert answer.headers["X-API-Session-Cookie-Name"] == "sessionid"
    session = client.get_cookie("sessionid", path="/api/")
    assert session is not None
    assert session.http_only
    assert named.releaser.caller.id not in session.value
    assert client.get("/api/v2/me/").json["results"][0]["username"] == "awx-releaser"
    assert client.get("/api/logout/").status_code == 302
    assert client.get("/api/v2/me/").status_code == 401


def test_a_session_changes_nothing_without_its_csrf_token(named: Door) -> None:
    client = named.app.test_client()
    log_in(client)
    path = f"/api/v2/job_templates/{named.template['development']}/launch/"
    assert client.post(path, json={}).status_code == 403
    assert client.post(path, json={}, headers={"X-CSRFToken": "x"}).status_code == 403
    assert client.post(path, json={}, headers={"X-CSRFToken": csrf_of(client)}).status_code == 201


def test_a_login_needs_the_csrf_cookie(named: Door) -> None:
    client = named.app.test_client()
    assert (
        client.post("/api/login/", data={"username": "awx-releaser", "password": PASSWORD}).status_code == 403
    )
    assert log_in(client, csrf="another").status_code == 403
    assert client.get_cookie("sessionid", path="/api/") is None


def test_a_wrong_password_opens_nothing_and_too_many_have_to_wait(named: Door) -> None:
    client = named.app.test_client()
    assert log_in(client, "wrong").status_code == 401
    for _ in range(30):
        last = log_in(client, "wrong")
    assert last.status_code == 429
    assert log_in(client).status_code == 429


def test_a_guesser_with_a_name_has_to_wait_and_a_token_still_passes(
    named: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However slow the machine is that counts them.
    monkeypatch.setattr(login_limit, "WITHIN_SECONDS", 3600.0)
    client, right = named.app.test_client(), ("awx-releaser", PASSWORD)
    for _ in range(login_limit.MOST + 1):
        last = client.get("/api/v2/me/", auth=("awx-releaser", "wrong"))
    assert (last.status_code, int(last.headers["Retry-After"]) > 0) == (429, True)
    assert client.get("/api/v2/me/", auth=right).status_code == 429
    assert named.releaser.get("me/").status_code == 200


@pytest.mark.parametrize(
    "following", ["https://elsewhere.example/", "//elsewhere.example", "/api/\\x", "/other"]
)
def test_a_login_leads_nowhere_else(named: Door, following: str) -> None:
    assert log_in(named.app.test_client(), following=following).headers["Location"] == "/api/"


def test_a_session_ends(named: Door) -> None:
    client = named.app.test_client()
    log_in(client)
    named.made.clock.pass_(minutes=31)
    assert client.get("/api/v2/me/").status_code == 401


def test_a_session_ends_with_the_password_and_with_the_user(named: Door) -> None:
    changed, disabled = named.app.test_client(), named.app.test_client()
    log_in(changed)
    with named.core.database.write() as session:
        session.get_one(User, named.releaser.caller.id).password_hash = passwords.hash_password("another")
    assert changed.get("/api/v2/me/").status_code == 401
    log_in(disabled, "another")
    assert disabled.get("/api/v2/me/").status_code == 200
    named.disable(named.releaser)
    assert disabled.get("/api/v2/me/").status_code == 401


@pytest.mark.parametrize("cookie", ["", "x", "gAAAAA" + "x" * 80])
def test_a_cookie_that_we_did_not_make_is_no_session(named: Door, cookie: str) -> None:
    client = named.app.test_client()
    client.set_cookie("sessionid", cookie, path="/api/")
    assert client.get("/api/v2/me/").status_code == 401


def test_basic_and_login_only_where_the_installation_allows_them(named: Door) -> None:
    basic: Any = ("awx-releaser", PASSWORD)
    assert named.app.test_client().get("/api/v2/me/", auth=basic).status_code == 200
    closed = create_app(replace(named.core, settings=replace(named.core.settings, basic_auth=False)))
    assert closed.test_client().get("/api/v2/me/", auth=basic).status_code == 401
    assert log_in(closed.test_client()).status_code == 401


def test_a_session_is_of_this_door_only(named: Door) -> None:
    client = named.app.test_client()
    log_in(client)
    assert client.get("/api/v1/me").status_code == 401
