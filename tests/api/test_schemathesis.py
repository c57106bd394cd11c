# SPDX-License-Identifier: Apache-2.0
"""The API against its own document: no fault of ours, no answer that is not documented."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controlplane import bootstrap
from controlplane import settings as configuration
from controlplane.adapters import vault
from controlplane.api.app import create_app
from controlplane.store import migrate
from tests.api.people import People

CHECKS = [
    schemathesis.checks.not_a_server_error,
    schemathesis.checks.status_code_conformance,
    schemathesis.checks.content_type_conformance,
    schemathesis.checks.response_schema_conformance,
]


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> schemathesis.BaseSchema:
    """The document of an application of its own, and the token of an administrator for it."""
    home: Path = tmp_path_factory.mktemp("schemathesis") / "home"
    chosen = configuration.load({"TIDEGATE_HOME": str(home)})
    chosen.make_folders()
    vault.init_keys(chosen.key_file)
    migrate.upgrade(chosen.database_url)
    core = bootstrap.build_core(chosen)
    app: Flask = create_app(core)
    app.extensions["test.token"] = People(core, app).add("admin", "admin").token
    found = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", app)
    # Streams do not end by themselves; tests/api/test_stream.py is about them.
    return found.exclude(path_regex="/stream$")


@settings(
    max_examples=10, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None
)
@given(data=st.data())
def check_operation(operation: Any, token: str, data: st.DataObject) -> None:
    """Send generated requests to one operation and hold the answers to the document."""
    case = data.draw(operation.as_strategy())
    case.call_and_validate(headers={"Authorization": f"Bearer {token}", "Prefer": "wait=0"}, checks=CHECKS)


@pytest.mark.timeout(180)
def test_answers_are_as_documented(described: schemathesis.BaseSchema) -> None:
    token = described.app.extensions["test.token"]
    operations = [result.ok() for result in described.get_all_operations()]
    assert len(operations) > 20
    for operation in operations:
        check_operation(operation, token)
