# SPDX-License-Identifier: Apache-2.0
"""Questions to an engine, answered by a server on a socket of the test's."""

from __future__ import annotations

import base64
import json
import os
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.compose import engine, engine_api, registry
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError


class Engine(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    answers: dict[str, Any]
    asked: list[tuple[str, str]]


class Handler(BaseHTTPRequestHandler):
    server: Engine

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("X-Registry-Auth", "")))
        found = self.server.answers.get(self.path.partition("?")[0])
        body = json.dumps(found if found is not None else {"message": "no such thing"}).encode()
        self.send_response(200 if found is not None else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass

    def address_string(self) -> str:
        return "here"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    path = str(tmp_path / "engine.sock")
    with Engine(path, Handler) as made:
        made.answers, made.asked = {}, []
        threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
        yield made
        made.shutdown()


def test_a_project_is_its_containers_without_one_off_runs(server: Engine) -> None:
    server.answers = {
        "/containers/json": [{"Id": "a"}, {"Id": "b"}, {"Id": "gone"}],
        "/containers/a/json": {"Id": "a", "Config": {"Labels": {}}},
        "/containers/b/json": {"Id": "b", "Config": {"Labels": {"com.docker.compose.oneoff": "True"}}},
    }
    assert [one["Id"] for one in engine.inspect_project("shop")] == ["a"]
    assert "com.docker.compose.project%3Dshop" in server.asked[0][0]


def test_an_image_that_is_not_there_is_none(server: Engine) -> None:
    server.answers = {"/images/host:5000/shop@sha256:1/json": {"Id": "sha256:2"}}
    assert engine.inspect_image("host:5000/shop@sha256:1") == {"Id": "sha256:2"}
    assert engine.inspect_image("shop:1") is None


def test_a_registry_is_asked_by_the_engine_with_its_own_credential_only(server: Engine) -> None:
    server.answers = {"/distribution/host:5000/shop:1/json": {"Descriptor": {"digest": "sha256:index"}}}
    known = [
        {"server": "other:5000", "username": "o", "password": "wrong"},
        {"server": "host:5000", "username": "u", "password": "p"},
    ]
    assert registry.resolve("host:5000/shop:1", known) == "sha256:index"
    told = json.loads(base64.urlsafe_b64decode(server.asked[0][1]))
    assert told == {"username": "u", "password": "p", "serveraddress": "host:5000"}
    with pytest.raises(ReleaseError) as refused:
        registry.resolve("host:5000/shop:9", known)
    assert refused.value.error_key == "image_missing"
    assert "no such thing" in str(refused.value)


def test_no_engine_is_a_failed_preflight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    with pytest.raises(ReleaseError) as refused:
        engine.inspect_project("shop")
    assert refused.value.error_key == "preflight_failed"
    assert refused.value.hint


def test_the_socket_is_the_one_that_the_command_would_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert engine_api.socket_path() == "/var/run/docker.sock"
    os.makedirs(tmp_path / ".docker")
    (tmp_path / ".docker" / "config.json").write_text('{"currentContext": "far"}')
    assert engine_api.socket_path() is None
    monkeypatch.setenv("DOCKER_HOST", "tcp://far:2376")
    assert engine_api.socket_path() is None


def test_passwords_are_on_the_host_as_long_as_they_are_used() -> None:
    with registry.credentials([{"server": "s", "username": "u", "password": "p"}]) as folder:
        assert folder is not None
        file = Path(folder) / "config.json"
        assert file.stat().st_mode & 0o777 == 0o600
        assert json.loads(file.read_text())["auths"]["s"]["auth"] == base64.b64encode(b"u:p").decode()
    assert not file.exists()


@pytest.mark.parametrize(
    ("reference", "repository", "server_name"),
    [
        ("shop:1", "shop", "docker.io"),
        ("team/shop", "team/shop", "docker.io"),
        ("host:5000/team/shop:1", "host:5000/team/shop", "host:5000"),
        ("host.example/shop@sha256:1", "host.example/shop", "host.example"),
        ("localhost/shop", "localhost/shop", "localhost"),
    ],
)
def test_references(reference: str, repository: str, server_name: str) -> None:
    assert registry.repository(reference) == repository
    assert registry.server(reference) == server_name
