# SPDX-License-Identifier: Apache-2.0
"""Every hostile kubeconfig is refused with its key; nothing is run, read, connected to or stored."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import func, select, text

from controlplane.api.app import create_app
from controlplane.services.core import Core
from controlplane.store.tables import Cluster, Event
from tests.api.hostile_kubeconfigs import INVALID, TOKEN, Hostile, hostile, plain
from tests.api.installations import installed
from tests.api.people import Caller, People
from tests.api.server import served

NAMES = [one.name for one in hostile("https://127.0.0.1:1", "/nonexistent")]


class Visited:
    """A port of loopback that counts who connects."""

    def __init__(self) -> None:
        self.count = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.count += 1
            connection.close()

    def close(self) -> None:
        """Stop listening."""
        self._listener.close()


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Core]:
    """One installation for all of them, with the settings as they come."""
    with installed(tmp_path_factory.mktemp("hostile") / "home") as core:
        yield core


@pytest.fixture(scope="module")
def admin(core: Core) -> Caller:
    """Somebody who may."""
    people = People(core, create_app(core))
    people.project("shop")
    return people.add("admin", "admin")


@pytest.fixture
def visited() -> Iterator[Visited]:
    """The port that hostile kubeconfigs lead to."""
    port = Visited()
    yield port
    port.close()


def find(name: str, endpoint: str, marker: Path) -> Hostile:
    """Return one of them."""
    position = NAMES.index(name)
    return hostile(endpoint, str(marker))[position]


@pytest.mark.parametrize("name", NAMES)
def test_it_is_refused_and_nothing_happens(
    core: Core, admin: Caller, visited: Visited, tmp_path: Path, name: str
) -> None:
    one = find(name, visited.endpoint, tmp_path / "marker")
    body = {"project_id": "shop", "name": "blue", "kubeconfig": one.text}
    answer = admin.post("/clusters/import/kubeconfig", body)
    if one.name == "huge":
        # The schema has the same bound: it is refused before anybody reads it.
        assert answer.json["error_key"] == "validation_error"
        return
    assert (answer.status_code, answer.json["error_key"]) == (422, one.key), answer.json
    assert one.where in answer.json["errors"], answer.json["errors"]
    assert TOKEN not in answer.text and "shadow" not in answer.text
    assert visited.count == 0
    assert not (tmp_path / "marker").exists()
    with core.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Cluster)) == 0
        last = session.scalars(select(Event).order_by(Event.seq.desc()).limit(1)).one()
        assert (last.action, last.status, last.detail) == (
            "cluster.import_failed", "failed", {"name": "blue", "error_key": one.key}
        )  # fmt: skip
        assert TOKEN not in str(session.execute(text("SELECT * FROM events")).all())


def test_there_are_enough_of_them_and_each_is_another() -> None:
    assert len(set(NAMES)) == len(NAMES) >= 80


def test_what_they_are_made_of_is_taken_when_nothing_is_wrong(tmp_path: Path, visited: Visited) -> None:
    """Else they might be refused for something that they all have."""
    with installed(tmp_path / "home", CLUSTER_ADDRESS_ALLOW="127.0.0.1/32") as core:
        people = People(core, create_app(core))
        people.project("shop")
        body = {"project_id": "shop", "name": "blue", "kubeconfig": json.dumps(plain(visited.endpoint))}
        answer = people.add("admin", "admin").post("/clusters/import/kubeconfig", body)
        assert answer.json["error_key"] == "cluster_unreachable", answer.json
    assert visited.count == 1
    assert INVALID != answer.json["error_key"]


def test_a_cluster_that_does_not_answer_holds_nobody_else_up(tmp_path: Path) -> None:
    with installed(tmp_path / "home", CLUSTER_ADDRESS_ALLOW="127.0.0.1/32") as core:
        people = People(core, create_app(core))
        people.project("shop")
        token = people.add("admin", "admin").token
        (core.settings.home / "tidegate.toml").write_text('cluster_address_allow = ["127.0.0.1/32"]\n')
        with socket.create_server(("127.0.0.1", 0)) as silent, served(core.settings.home) as url:
            endpoint = f"https://127.0.0.1:{silent.getsockname()[1]}"
            body = {"project_id": "shop", "name": "blue", "kubeconfig": json.dumps(plain(endpoint))}
            answers: list[httpx.Response] = []

            def bring_in() -> None:
                known = {"Authorization": f"Bearer {token}"}
                where = f"{url}/api/v1/clusters/import/kubeconfig"
                answers.append(httpx.post(where, json=body, headers=known, timeout=60))

            asking = threading.Thread(target=bring_in)
            asking.start()
            held, _ = silent.accept()
            begun = time.monotonic()
            assert httpx.get(f"{url}/readyz", timeout=30).status_code == 200
            assert time.monotonic() - begun < 5
            assert answers == []
            held.close()
            asking.join(60)
    assert [(answer.status_code, answer.json()["error_key"]) for answer in answers] == [
        (502, "cluster_unreachable")
    ]
