# SPDX-License-Identifier: Apache-2.0
"""Values of variables by command: where they go, and that secret ones are never an argument."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from controlplane.cli.outcome import Outcome
from tests.cli.broken_server import Script, answering, document
from tests.cli.test_commands import COMMAND

SERVICE = "svc_01jd2k3m4n5p6q7r8s9tavbwcx"
TARGET = "tgt_01jd2k3m4n5p6q7r8s9tavbwcx"
CANARY = "pa$$ w0rd='x'"
KEPT = {
    "id": "var_1", "scope_type": "target", "scope_id": TARGET, "name": "password", "value": None, "is_secret": True,
    "updated_at": "2026-01-01T12:00:00Z",
}  # fmt: skip


def page(*items: dict[str, Any]) -> Any:
    return document(200, {"items": items, "next": None, "total_estimate": len(items)})


VERSION = page({"variable_schema": {"password": {"secret": True}, "port": {"type": "integer"}}})
OWN = document(200, {"id": SERVICE, "project_id": "prj_1"})


def run(server: Script, *words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *words], input=typed, capture_output=True, text=True, check=False, timeout=60,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "TIDEGATE_URL": server.url},
    )  # fmt: skip


@pytest.mark.parametrize("is_file", [True, False])
def test_a_secret_is_set_from_a_file_or_from_standard_input(tmp_path: Path, is_file: bool) -> None:
    file = tmp_path / "password"
    file.write_text(CANARY + "\n")
    set_ = ("service", "variable", "set", SERVICE, "password", "--target", TARGET, "--value-file")
    with answering(OWN, document(200, KEPT)) as server:
        told = run(server, *set_, str(file)) if is_file else run(server, *set_, "-", typed=CANARY + "\n")
    assert told.returncode == Outcome.OK, told.stderr
    assert server.requests[-1][:2] == ("PUT", f"/api/v1/services/{SERVICE}/variables")
    sent = {"scope_type": "target", "scope_id": TARGET, "name": "password", "value": CANARY}
    assert json.loads(server.bodies[-1]) == sent
    assert CANARY not in told.stdout + told.stderr


def test_a_secret_is_not_taken_as_an_argument() -> None:
    with answering(VERSION) as server:
        told = run(
            server, "service", "variable", "set", SERVICE, "password", "--target", TARGET, "--value", CANARY
        )
    assert told.returncode == Outcome.USAGE
    assert "--value-file" in told.stderr
    assert not [body for body in server.bodies if body]


def test_a_plain_value_of_another_type_is_json_and_scopes_go_by_name() -> None:
    environment = page({"id": "env_1", "name": "production"})
    with answering(VERSION, OWN, environment, document(200, {**KEPT, "name": "port", "value": 80})) as server:
        told = run(
            server, "service", "variable", "set", SERVICE, "port", "--environment", "production", "--value", "80",
            "--typed",
        )  # fmt: skip
    assert told.returncode == Outcome.OK, told.stderr
    sent = {"scope_type": "environment", "scope_id": "env_1", "name": "port", "value": 80}
    assert json.loads(server.bodies[-1]) == sent
    assert "project_id=prj_1" in server.requests[2][1]


@pytest.mark.parametrize(
    "words",
    [
        ("--target", TARGET),
        ("--target", TARGET, "--value", "1", "--value-file", "-"),
        ("--value-file", "-"),
        ("--value-file", "-", "--target", TARGET, "--environment", "x"),
        ("--value-file", "/nonexistent/file", "--target", TARGET),
        ("--value-file", "-", "--typed", "--target", TARGET),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_sent(words: tuple[str, ...]) -> None:
    with answering(OWN, OWN) as server:
        told = run(server, "service", "variable", "set", SERVICE, "password", *words, typed="{no json")
    assert told.returncode == Outcome.USAGE, told.stderr
    assert "no json" not in told.stderr
    assert [request for request in server.requests if request[0] == "PUT"] == []


def test_the_list_shows_that_a_secret_is_there_and_not_what_it_is() -> None:
    with answering(page(KEPT, {**KEPT, "name": "port", "value": 80, "is_secret": False})) as server:
        told = run(server, "service", "variable", "list", SERVICE)
    assert told.returncode == Outcome.OK
    assert "password" in told.stdout and "80" in told.stdout


def test_a_value_is_deleted_where_it_was_set_and_one_that_is_not_there_is_told() -> None:
    delete = ("service", "variable", "delete", SERVICE, "password", "--target", TARGET)
    missing = document(404, {"status": 404, "error_key": "not_found", "detail": "no value"})
    with answering(OWN, (204, "application/json", b""), OWN, missing) as server:
        assert run(server, *delete).returncode == Outcome.OK
        assert run(server, *delete).returncode == Outcome.NOT_FOUND
    query = f"scope_type=target&scope_id={TARGET}&name=password"
    assert server.requests[1][:2] == ("DELETE", f"/api/v1/services/{SERVICE}/variables?{query}")


def test_a_preview_takes_secrets_from_files(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(CANARY + "\n")
    blocked = {"release_id": "rel_1", "preview": None, "lifecycle_state": "preview", "status": "previewing"}
    ask = ("release", "preview", "--target", TARGET, "--service", "shop", "--json")
    with answering(document(409, {**blocked, "status": 409})) as server:
        run(
            server,
            *ask,
            "--var",
            "a=1",
            "--var-file",
            f"password={file}",
            "--var-file",
            "port:=-",
            typed="80\n",
        )
    assert json.loads(server.bodies[-1])["variables"] == {"a": "1", "password": CANARY, "port": 80}


@pytest.mark.parametrize(
    "words",
    [
        ("--var", "a=1", "--var-file", "a=-"),
        ("--var-file", "a"),
        ("--var-file", "a=/nonexistent/file"),
        ("--var-file", "a:=-"),
    ],
)
def test_a_variable_that_cannot_be_read_is_refused(words: tuple[str, ...]) -> None:
    with answering() as server:
        told = run(
            server, "release", "preview", "--target", TARGET, "--service", "shop", *words, typed="{no json"
        )
    assert told.returncode == Outcome.USAGE
    assert "no json" not in told.stderr
    assert server.requests == []


def test_a_version_that_was_never_released_is_deleted_by_command() -> None:
    with answering((204, "application/json", b"")) as server:
        told = run(server, "service", "version", "delete", SERVICE, "1/2")
    assert told.returncode == Outcome.OK
    assert server.requests[0][:2] == ("DELETE", f"/api/v1/services/{SERVICE}/versions/1%2F2")
