# SPDX-License-Identifier: Apache-2.0
"""Projects, teams, users, tokens, bindings: nobody gets more by making something than they had."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, text

from controlplane.api.app import create_app
from controlplane.api.login_limit import MOST
from controlplane.domain.errors import Problem
from controlplane.services import access
from controlplane.services.core import Core
from controlplane.store.tables import Event, Release
from tests.api.people import Caller, People
from tests.api.releases import add_release

PASSWORD = "canary-77aa-password"


def actions(core: Core, prefix: str) -> list[str]:
    """Return the actions of the events that begin so, in order."""
    with core.database.read() as session:
        return [
            event.action
            for event in session.scalars(select(Event).order_by(Event.seq))
            if event.action.startswith(prefix)
        ]


def bind(caller: Caller, subject: str, role: str, scope_type: str, scope_id: str = "") -> Any:
    """Ask for a role for a user."""
    asked = {"subject_type": "user", "subject_id": subject, "role": role, "scope_type": scope_type}
    return caller.post("/bindings", asked | ({"scope_id": scope_id} if scope_id else {}))


def test_a_password_goes_in_works_and_never_comes_out(core: Core, admin: Caller) -> None:
    made = admin.post("/users", {"name": "requester", "password": PASSWORD})
    assert made.json["has_password"] is True
    answers = [made, admin.get(f"/users/{made.json['id']}"), admin.get("/users"), admin.get("/events")]
    assert all(PASSWORD not in answer.text and "argon2" not in answer.text for answer in answers)
    with core.database.read() as session:
        rows = str([session.execute(text(f"SELECT * FROM {table}")).all() for table in ("users", "events")])
    assert PASSWORD not in rows and "$argon2id$" in rows
    assert access.authenticate_password(core, "requester", PASSWORD).id == made.json["id"]
    with pytest.raises(Problem, match="authentication_required"):
        access.authenticate_password(core, "requester", "another-password")
    admin.patch(f"/users/{made.json['id']}", {"password": None})
    with pytest.raises(Problem, match="authentication_required"):
        access.authenticate_password(core, "requester", PASSWORD)


def test_a_disabled_user_is_out_at_once(admin: Caller, people: People) -> None:
    user = people.add("requester", "viewer")
    assert user.get("/me").status_code == 200
    admin.patch(f"/users/{user.id}", {"is_disabled": True})
    assert user.get("/me").status_code == 401


def test_a_deleted_user_leaves_neither_token_nor_role(core: Core, admin: Caller, people: People) -> None:
    user = people.add("requester", "viewer")
    assert admin.delete(f"/users/{user.id}").status_code == 204
    assert user.get("/me").status_code == 401
    assert admin.get("/bindings", subject_id=user.id).json["items"] == []


def test_the_last_administrator_stays(admin: Caller, people: People) -> None:
    own = admin.get("/bindings", subject_id=admin.id).json["items"][0]["id"]
    for answer in (
        admin.delete(f"/bindings/{own}"), admin.delete(f"/users/{admin.id}"),
        admin.patch(f"/users/{admin.id}", {"is_disabled": True}),
    ):  # fmt: skip
        assert (answer.status_code, answer.json["error_key"]) == (409, "conflict")
    people.add("second", "admin")
    assert admin.delete(f"/bindings/{own}").status_code == 204
    assert admin.get("/users").status_code == 403


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/users", {}), ("/users", {"name": "a b"}), ("/users", {"name": "x", "password": "short"}),
        ("/users", {"name": "x", "password_hash": "y"}), ("/users", {"name": ""}), ("/users", {"name": 1}),
        ("/teams", {"name": "Team"}), ("/teams", {}), ("/projects", {"name": "a/b"}),
        ("/projects", {"name": "x", "policy": [{"stage": "moon"}]}),
        ("/projects", {"name": "x", "policy": [{"stage": "staging", "nonsense": 1}]}),
        ("/projects", {"name": "x", "policy": [{"stage": "staging", "actions": "apply"}]}),
        ("/tokens", {}), ("/tokens", {"name": "x", "scopes": ["deploy:nonsense"]}),
        ("/tokens", {"name": "x", "source": "worker"}), ("/tokens", {"name": "x", "expires_in_seconds": 1}),
        ("/tokens", {"name": "x", "expires_in_seconds": 10**12}),
        ("/tokens", {"name": "x", "expires_at": "2001-01-01T00:00:00Z"}),
        ("/tokens", {"name": "x", "expires_at": "2099-01-01T00:00:00"}),
        ("/tokens", {"name": "x", "expires_at": "0001-01-01T00:00:00+14:00"}),
        ("/bindings", {"subject_type": "user", "subject_id": "x", "role": "king", "scope_type": "global"}),
        ("/bindings", {"subject_type": "user", "subject_id": "x", "role": "viewer", "scope_type": "project"}),
        (
            "/bindings",
            {"subject_type": "user", "subject_id": "x", "role": "viewer", "scope_type": "global", "scope_id": "y"},
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused(admin: Caller, path: str, body: dict[str, Any]) -> None:
    answer = admin.post(path, body)
    assert (answer.status_code, answer.json["error_key"]) == (422, "validation_error"), answer.json


@pytest.mark.parametrize("path", ["/users", "/teams", "/projects"])
def test_names_are_taken_once(admin: Caller, path: str) -> None:
    first = admin.post(path, {"name": "one"})
    assert first.status_code == 201
    assert admin.post(path, {"name": "one"}).json["error_key"] == "conflict"
    assert [item["id"] for item in admin.get(path, name="one").json["items"]] == [first.json["id"]]


def test_a_token_is_shown_once_and_ends_when_revoked(
    core: Core, app: Flask, admin: Caller, people: People
) -> None:
    user = people.add("requester", "viewer")
    made = user.post("/tokens", {"name": "pipeline", "source": "ci", "expires_in_seconds": 3600}).json
    second = Caller(app, user.id, user.name, made["token"], made["id"])
    assert (second.get("/me").json["source"], second.get("/me").json["id"]) == ("ci", user.id)
    secret = made["token"].split("_", 2)[2]
    for answer in (user.get("/tokens"), user.get(f"/tokens/{made['id']}"), admin.get("/events")):
        assert secret not in answer.text
    assert user.delete(f"/tokens/{made['id']}").status_code == 204
    assert second.get("/me").status_code == 401
    assert user.get(f"/tokens/{made['id']}").json["revoked_at"] is not None
    assert actions(core, "access.token") == ["access.token_created", "access.token_revoked"]


def test_tokens_of_others_are_an_administrators(admin: Caller, people: People) -> None:
    user, other = people.add("requester", "operator"), people.add("other", "viewer")
    assert user.post("/tokens", {"name": "x", "user_id": other.id}).status_code == 403
    assert user.get(f"/tokens/{other.token_id}").status_code == 404
    assert user.delete(f"/tokens/{other.token_id}").status_code == 404
    assert {token["user_id"] for token in user.get("/tokens").json["items"]} == {user.id}
    assert admin.post("/tokens", {"name": "x", "user_id": other.id}).json["user_id"] == other.id
    assert admin.post("/tokens", {"name": "x", "user_id": "usr_nobody"}).status_code == 404
    assert admin.delete(f"/tokens/{other.token_id}").status_code == 204
    assert other.get("/me").status_code == 401


def test_a_narrow_token_makes_no_wider_one(core: Core, app: Flask, people: People) -> None:
    end = core.clock.now().replace(year=core.clock.now().year + 1)
    user = people.add("requester", "admin", scopes=["deploy:release:read"], expires_at=end)
    made = user.post("/tokens", {"name": "copy"}).json
    assert made["scopes"] == ["deploy:release:read"]
    kept = user.get(f"/tokens/{user.token_id}").json["expires_at"]
    assert made["expires_at"] == kept
    wider = user.post("/tokens", {"name": "wide", "scopes": ["deploy:release:read", "admin"]})
    assert (wider.status_code, wider.json["permission"]) == (403, "admin")
    second = Caller(app, user.id, user.name, made["token"], made["id"])
    assert second.post("/users", {"name": "x"}).status_code == 403


def test_roles_are_given_by_whoever_administers_the_scope(core: Core, admin: Caller, people: People) -> None:
    shop, bank = people.project("shop"), people.project("bank")
    boss, user = people.add("boss", "admin", project=shop), people.add("requester")
    given = bind(boss, user.id, "releaser", "project", shop)
    assert given.status_code == 201
    assert bind(boss, user.id, "releaser", "project", shop).json["error_key"] == "conflict"
    assert bind(boss, user.id, "viewer", "project", bank).status_code == 404
    assert bind(boss, user.id, "viewer", "global").status_code == 403
    assert bind(boss, "usr_nobody", "viewer", "project", shop).status_code == 404
    assert bind(user, user.id, "admin", "project", shop).status_code == 403
    assert user.get("/me").json["roles"] == [{"role": "releaser", "scope_type": "project", "scope_id": shop}]
    assert boss.delete(f"/bindings/{given.json['id']}").status_code == 204
    assert user.get("/me").json["permissions"] == []
    assert actions(core, "access.role") == ["access.role_bound", "access.role_unbound"]
    assert "access.denied" in actions(core, "access.denied")


def test_a_narrow_token_gives_no_role(people: People) -> None:
    shop = people.project("shop")
    boss = people.add("boss", "admin", project=shop, scopes=["deploy:release:read", "deploy:release:approve"])
    assert bind(boss, boss.id, "viewer", "project", shop).status_code == 403


def test_bindings_are_seen_by_those_who_administer_them(admin: Caller, people: People) -> None:
    shop, bank = people.project("shop"), people.project("bank")
    boss = people.add("boss", "admin", project=shop)
    user, other = people.add("requester", "viewer", project=shop), people.add("other", "viewer", project=bank)
    assert {one["subject_id"] for one in boss.get("/bindings").json["items"]} == {boss.id, user.id}
    assert {one["subject_id"] for one in other.get("/bindings").json["items"]} == {other.id}
    hidden = admin.get("/bindings", subject_id=other.id).json["items"][0]["id"]
    assert boss.get(f"/bindings/{hidden}").status_code == 404
    assert boss.delete(f"/bindings/{hidden}").status_code == 404


def test_a_team_reaches_its_projects(admin: Caller, people: People) -> None:
    team = admin.post("/teams", {"name": "payments"}).json["id"]
    inside = admin.post("/projects", {"name": "shop", "team_id": team}).json["id"]
    outside = admin.post("/projects", {"name": "bank"}).json["id"]
    lead, viewer = people.add("lead"), people.add("viewer")
    bind(admin, lead.id, "admin", "team", team)
    assert bind(lead, viewer.id, "viewer", "team", team).status_code == 201
    assert [project["id"] for project in viewer.get("/projects").json["items"]] == [inside]
    assert viewer.get(f"/projects/{outside}").status_code == 404
    assert [one["id"] for one in viewer.get("/teams").json["items"]] == [team]
    assert viewer.get(f"/projects/{inside}").json["team_id"] == team
    assert lead.post("/projects", {"name": "new", "team_id": team}).status_code == 201
    assert lead.post("/projects", {"name": "free"}).status_code == 403
    assert lead.patch(f"/projects/{inside}", {"team_id": None}).status_code == 403
    assert lead.patch(f"/teams/{team}", {"name": "other"}).status_code == 403
    assert admin.delete(f"/teams/{team}").json["error_key"] == "resource_in_use"


def test_a_project_with_something_in_it_stays(admin: Caller, people: People) -> None:
    shop = admin.post("/projects", {"name": "shop", "description": "sells"}).json["id"]
    viewer = people.add("viewer", "viewer", project=shop)
    made = admin.post("/environments", {"project_id": shop, "name": "one", "stage": "staging"}).json["id"]
    assert admin.delete(f"/projects/{shop}").json["error_key"] == "resource_in_use"
    assert viewer.delete(f"/projects/{shop}").status_code == 403
    assert viewer.patch(f"/projects/{shop}", {"name": "mine"}).status_code == 403
    admin.delete(f"/environments/{made}")
    assert admin.delete(f"/projects/{shop}").status_code == 204
    assert viewer.get("/me").json["roles"] == []


def test_a_projects_policy_is_kept(admin: Caller) -> None:
    rows = [{"stage": "staging", "actions": ["apply"], "min_approvals": 2}]
    made = admin.post("/projects", {"name": "shop", "policy": rows}).json
    assert made["policy"] == rows
    assert admin.patch(f"/projects/{made['id']}", {"policy": []}).json["policy"] == []
    assert admin.patch(f"/projects/{made['id']}", {"policy": [{"stage": "x"}]}).status_code == 422


def test_who_administers_nothing_lists_no_users(people: People) -> None:
    user = people.add("requester", "operator")
    assert user.get("/users").status_code == 403
    assert user.get(f"/users/{user.id}").json["name"] == "requester"
    assert user.get("/users/usr_other").status_code == 403
    assert people.add("boss", "admin", project=people.project("shop")).get("/users").status_code == 200


def test_whoever_guesses_is_slowed_down_and_a_good_token_still_passes(admin: Caller, app: Flask) -> None:
    admin.post("/users", {"name": "requester", "password": PASSWORD})
    stranger = Caller(app, "", "", "tg_unknown_token", "")
    answers = [stranger.get("/me") for _ in range(MOST + 5)]
    assert [answer.status_code for answer in answers] == [401] * MOST + [429] * 5
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60
    told = admin.get("/events", action="access.login_failed", limit=100).json["items"]
    assert len(told) == MOST
    assert admin.get("/me").status_code == 200
    basic = b64encode(f"requester:{PASSWORD}".encode()).decode()
    guess = admin.client.get("/api/v1/me", headers={"Authorization": f"Basic {basic}"})
    assert guess.status_code == 429


@pytest.mark.parametrize("proxies", [0, 1, 2])
def test_failures_are_counted_by_client_behind_as_many_proxies_as_are_trusted(
    core: Core, proxies: int
) -> None:
    app = create_app(replace(core, settings=replace(core.settings, trusted_proxies=proxies)))
    stranger = Caller(app, "", "", "tg_unknown_token", "")

    def ask(client: str) -> int:
        # What a client writes there itself comes first; each proxy puts whom it heard behind it.
        passed = ", ".join(["203.0.113.9", client, "198.51.100.1"][: 1 + proxies])
        return stranger.send("GET", "/me", headers={"X-Forwarded-For": passed}).status_code

    assert [ask("192.0.2.1") for _ in range(MOST + 1)] == [401] * MOST + [429]
    assert ask("192.0.2.2") == (429 if proxies == 0 else 401)


def test_who_may_only_roll_back_cancels_a_rollback_and_no_release(
    core: Core, people: People, admin: Caller
) -> None:
    project = people.project("shop")
    scopes = [
        "deploy:release:read",
        "deploy:compose:read",
        "deploy:release:rollback",
        "deploy:compose:rollback",
    ]
    rescuer = people.add("rescuer", "releaser", project=project, scopes=scopes)
    release_id = add_release(core, project, state="approved", status="approved")
    refused = rescuer.post(f"/deploy/releases/{release_id}/cancel")
    assert (refused.status_code, refused.json["permission"]) == (403, "deploy:release:apply")
    with core.database.write() as session:
        session.get_one(Release, release_id).action = "rollback"
    assert rescuer.post(f"/deploy/releases/{release_id}/cancel").json["lifecycle_state"] == "cancelled"
