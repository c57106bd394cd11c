# SPDX-License-Identifier: Apache-2.0
"""Users with roles and tokens, and a client that asks as one of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from controlplane.domain import token as tokens
from controlplane.domain.identifier import new_id
from controlplane.services.core import Core
from controlplane.store.tables import Binding, Project, Token, User

API = "/api/v1"


class Caller:
    """A user who asks. Paths are below `/api/v1`."""

    def __init__(self, app: Flask, user_id: str, name: str, token: str, token_id: str) -> None:
        self.client = app.test_client()
        self.id = user_id
        self.name = name
        self.token = token
        self.token_id = token_id

    def get(self, path: str, **query: Any) -> TestResponse:
        """Ask with GET; keywords are the query."""
        return self.send("GET", path, query_string=query)

    def post(self, path: str, body: Any = None, headers: dict[str, str] | None = None) -> TestResponse:
        """Ask with POST and a JSON body."""
        return self.send("POST", path, headers=headers, **({} if body is None else {"json": body}))

    def patch(self, path: str, body: Any) -> TestResponse:
        """Ask with PATCH and a JSON body."""
        return self.send("PATCH", path, json=body)

    def delete(self, path: str) -> TestResponse:
        """Ask with DELETE."""
        return self.send("DELETE", path)

    def send(
        self, method: str, path: str, headers: dict[str, str] | None = None, **rest: Any
    ) -> TestResponse:
        """Ask with any method."""
        known = {"Authorization": f"Bearer {self.token}", **(headers or {})}
        return self.client.open(API + path, method=method, headers=known, **rest)


class People:
    """Writes users, bindings and tokens straight to the tables, so that no test depends on those routes."""

    def __init__(self, core: Core, app: Flask) -> None:
        self._core = core
        self._app = app

    def add(
        self,
        name: str,
        role: str | None = None,
        *,
        project: str | None = None,
        scopes: Sequence[str] = (),
        expires_at: datetime | None = None,
    ) -> Caller:
        """Add a user, with a role everywhere or in one project (by id), and a token."""
        now = self._core.clock.now()
        made = tokens.new_token()
        user_id, token_id = new_id("usr"), new_id("tok")
        with self._core.database.write() as session:
            session.add(User(id=user_id, name=name, created_at=now))
            session.flush()
            session.add(
                Token(
                    id=token_id, user_id=user_id, name="test", prefix=made.prefix, secret_hash=made.secret_hash,
                    scopes=list(scopes), created_at=now, expires_at=expires_at,
                )
            )  # fmt: skip
            if role is not None:
                scope = ("project", project) if project else ("global", "")
                session.add(
                    Binding(
                        id=new_id("bnd"), subject_type="user", subject_id=user_id, role=role,
                        scope_type=scope[0], scope_id=scope[1], created_at=now,
                    )
                )  # fmt: skip
        return Caller(self._app, user_id, name, made.text, token_id)

    def project(self, name: str) -> str:
        """Add a project and return its id."""
        project_id = new_id("prj")
        with self._core.database.write() as session:
            session.add(Project(id=project_id, name=name, created_at=self._core.clock.now()))
        return project_id
