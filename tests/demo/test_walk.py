# SPDX-License-Identifier: Apache-2.0
"""The demo's walk, held to what the demo says."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.demo import server
from tests.demo.walk import ANOTHER_RELEASE, Walked, walk
from tests.lab import Lab

pytestmark = [pytest.mark.lab, pytest.mark.xdist_group("demo")]


class Silent:
    """Tells nobody."""

    def chapter(self, title: str) -> None:
        """A new chapter."""

    def fact(self, text: str) -> None:
        """A fact."""

    def event(self, event: dict[str, Any]) -> None:
        """An event."""


def free_address() -> str:
    """Return a loopback address that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return f"127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture(scope="module")
def walked(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walked]:
    """The walk, done once."""
    home: Path = tmp_path_factory.mktemp("demo") / "home"
    address = free_address()
    host = lab.host("walk")
    token = server.initialise(home)
    process = server.start(home, address)
    archive: Callable[[str, bool], Path] = lambda version, healthy: lab.app_archive(version, healthy=healthy)  # noqa: E731
    try:
        yield walk(f"http://{address}", token, host, archive, Silent())
    finally:
        server.stop(process.pid)
        host.remove()


def test_development_needs_no_approval_and_production_does(walked: Walked) -> None:
    assert walked.releases["v1"]["lifecycle_state"] == "applied"
    assert not walked.releases["v1"]["approval_required"]
    assert walked.releases["v2"]["lifecycle_state"] == "applied"
    assert walked.releases["v2"]["approval_required"]
    told = walked.timelines["v2"]
    in_order = ["release.pending_approval", "release.approved", "release.applying", "release.applied"]
    assert [action for action in told if action in in_order] == in_order


def test_what_was_released_answers(walked: Walked) -> None:
    assert walked.answers == {"v1": "shop 1", "v2": "shop 2", "rollback": "shop 2"}


def test_the_failure_names_the_container_and_shows_its_last_lines(walked: Walked) -> None:
    diagnostics = walked.releases["v3"]["diagnostics_json"]
    assert diagnostics["error_key"] == "compose_unhealthy"
    assert diagnostics["failure_domain"] == "health"
    (container,) = [thing for thing in diagnostics["objects"] if thing["service"] == "web"]
    assert "web" in container["container"]
    assert "migration 0042 is missing" in f"{container['health_log']}{container['log_tail']}"


def test_the_rollback_had_its_own_approval_and_moved_what_it_undid(walked: Walked) -> None:
    assert walked.releases["rollback"]["lifecycle_state"] == "applied"
    assert walked.releases["rollback"]["approval_required"]
    assert walked.releases["rollback"]["approval_ticket"] != walked.releases["v3"]["approval_ticket"]
    assert walked.releases["v3"]["lifecycle_state"] == "rollback"
    assert walked.releases["v3"]["rolled_back_by"] == walked.releases["rollback"]["release_id"]


def test_what_it_says_to_try_next_works(walked: Walked) -> None:
    requester = walked.requester
    environment = {**os.environ, "TIDEGATE_URL": requester.url, "TIDEGATE_TOKEN": requester.token}
    command = [str(Path(sys.executable).parent / "tidegate"), *ANOTHER_RELEASE]
    done = subprocess.run(
        command, env=environment, input="y\n", capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
