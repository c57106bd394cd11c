# SPDX-License-Identifier: Apache-2.0
"""What is looked at on a Compose host is not touched; what is tried there is nobody else's, and does not stay."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.environment import compose_environment
from ansible_collections.tidegate.deploy.plugins.module_utils.environment.journal import Journal

WORK: dict[str, Any] = {
    "artifacts": {"test-image": {"path": "/nowhere", "references": ["tidegate-test:1"]}, "compose-plugin": {}}
}
READS = ("compose", "image", "inspect", "ps", "logs")


class Engine:
    """A Docker that has the test image and Compose; `containers` are those it has, `calls` what it was told."""

    def __init__(self, *containers: str) -> None:
        self.containers = set(containers)
        self.calls: list[tuple[str, ...]] = []

    def run(self, *argv: str, timeout: int = 120) -> subprocess.CompletedProcess[str]:
        assert argv[0] == "docker" and timeout
        self.calls.append(argv[1:])
        verb, said = argv[1], ""
        if verb == "compose":
            said = "2.40.3"
        elif verb == "inspect":
            said = "true"
        elif verb == "ps":
            said = "\n".join(sorted(self.containers))
        elif verb == "run":
            self.containers.add(argv[argv.index("--name") + 1])
        elif verb == "rm":
            self.containers.discard(argv[-1])
        return subprocess.CompletedProcess(argv, 0, said, "")


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(str(tmp_path / "journal.json"))


def test_a_promise_on_a_host_that_is_installed_touches_no_container(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine("tidegate-environment-test-1")
    monkeypatch.setattr(compose_environment, "run", engine.run)
    assert compose_environment.apply(WORK, journal, True)["changes"] == []
    assert {call[0] for call in engine.calls} <= set(READS)
    assert engine.containers == {"tidegate-environment-test-1"}


def test_a_container_is_tried_and_those_of_the_killed_are_taken_away_alone(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed, at_work = "tidegate-environment-test-999999999", f"tidegate-environment-test-{os.getppid()}"
    engine = Engine(killed, at_work)
    monkeypatch.setattr(compose_environment, "run", engine.run)
    assert compose_environment.apply(WORK, journal, False)["changes"] == []
    assert [call[3] for call in engine.calls if call[0] == "run"] == [
        f"tidegate-environment-test-{os.getpid()}"
    ]
    assert engine.containers == {at_work}
