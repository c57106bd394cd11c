# SPDX-License-Identifier: Apache-2.0
"""An installation with a service and a target for each stage, asked through the door by people of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from controlplane.awx import launching, schedules
from controlplane.domain import token as tokens
from controlplane.services.core import Core
from controlplane.store.tables import ServiceVersion, Token, User
from tests import databases
from tests.api.application import application
from tests.api.people import Caller, People
from tests.awx.shop import shop  # noqa: F401 -- a fixture
from tests.services import installation
from tests.services.installation import Installation

SCHEMA = {
    "port": {
        "type": "integer",
        "default": 8080,
        "minimum": 1,
        "maximum": 65535,
        "description": "Where it listens",
    },
    "greeting": {"type": "string", "required": True, "default": "hello"},
    "colour": {"type": "string", "enum": ["red", "blue"]},
    "debug": {"type": "boolean", "default": False},
    "password": {"type": "string", "secret": True},
}


class Asker:
    """Somebody who asks below `/api/v2/`."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller

    def get(self, path: str, **query: Any) -> TestResponse:
        return self.send("GET", path, **({"query_string": query} if query else {}))

    def post(self, path: str, body: Any = None, **headers: str) -> TestResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.send("POST", path, json={} if body is None else body, headers=named)

    def send(
        self, method: str, path: str, headers: dict[str, str] | None = None, **rest: Any
    ) -> TestResponse:
        known = {"Authorization": f"Bearer {self.caller.token}", **(headers or {})}
        whole = (path if path.startswith("/api/") else f"/api/v2/{path}").replace(" ", "%20")
        return self.caller.client.open(whole, method=method, headers=known, **rest)


@dataclass
class Door:
    """The installation, its application, and who asks."""

    made: Installation
    app: Flask
    people: People
    releaser: Asker
    template: dict[str, int] = field(default_factory=dict)

    @property
    def core(self) -> Core:
        return self.made.core

    def person(
        self, name: str, role: str | None = "releaser", project: str | None = "prj", **rest: Any
    ) -> Asker:
        """Add somebody, with a role in a project or, for None, everywhere."""
        return Asker(self.people.add(name, role, project=project, **rest))

    def launch(
        self, stage: str = "development", body: Any = None, by: Asker | None = None, **headers: str
    ) -> Any:
        """Launch, and return the job that was answered."""
        answer = (by or self.releaser).post(f"job_templates/{self.template[stage]}/launch/", body, **headers)
        assert answer.status_code == 201, answer.text
        return answer.json

    def previewed(self, stage: str = "development", body: Any = None, by: Asker | None = None) -> Any:
        """Launch, make the preview as a worker does, and ask as the scheduler does."""
        job = self.launch(stage, body, by)
        assert self.made.work_preview() is not None
        launching.ask_where_previewed(self.core)
        return self.job(job["id"])

    def job(self, number: int) -> Any:
        """Read a job."""
        answer = self.releaser.get(f"jobs/{number}/")
        assert answer.status_code == 200, answer.text
        return answer.json

    def tick(self) -> None:
        """Do what the scheduler does."""
        schedules.launch_due(self.core)
        launching.ask_where_previewed(self.core)

    def disable(self, asker: Asker) -> None:
        """Disable a user."""
        with self.core.database.write() as session:
            session.get_one(User, asker.caller.id).is_disabled = True

    def revoke(self, asker: Asker) -> None:
        """Revoke a token."""
        with self.core.database.write() as session:
            session.get_one(Token, asker.caller.token_id).revoked_at = self.core.clock.now()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def door(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Door]:
    """The door of an installation of the test's own, on SQLite and on PostgreSQL."""
    made = installation.make(databases.with_tables(request, tmp_path), tmp_path, has_tables=True)
    _describe(made.core)
    app = application(made.core)
    people = People(made.core, app)
    door = Door(made, app, people, Asker(people.add("awx-releaser", "releaser", project="prj")))
    found = door.releaser.get("job_templates/").json["results"]
    door.template = {each["name"].rpartition(" / ")[2]: each["id"] for each in found}
    yield door
    made.core.queue.close()
    made.core.database.engine.dispose()


def _describe(core: Core) -> None:
    with core.database.write() as session:
        for number in (1, 2, 3):
            session.get_one(ServiceVersion, f"ver{number}").variable_schema = SCHEMA


_counter = itertools.count()


def extra_token(door: Door, asker: Asker) -> Asker:
    """Give somebody a second token."""
    made = tokens.new_token()
    name = f"tok_extra{next(_counter)}"
    with door.core.database.write() as session:
        session.add(
            Token(
                id=name, user_id=asker.caller.id, name="second", prefix=made.prefix, secret_hash=made.secret_hash,
                scopes=None, created_at=door.core.clock.now(), expires_at=None,
            )
        )  # fmt: skip
    return Asker(Caller(door.app, asker.caller.id, asker.caller.name, made.text, name))
