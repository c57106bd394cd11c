# SPDX-License-Identifier: Apache-2.0
"""What the hooks of an install did is taken back by their rollback hooks, the last first, each once."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.environment import hook, hook_step
from ansible_collections.tidegate.deploy.plugins.module_utils.environment.journal import Journal


class Host:
    """A host with hooks in its store and a journal; `did` is what the hooks wrote down, in order."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def journal(self) -> Journal:
        return Journal(str(self._folder / "journal.json"))

    def delivered(self, script: str) -> dict[str, str]:
        content = f"#!/bin/sh\nsaid={self._folder}/said\n{script}\n".encode()
        sha256 = hashlib.sha256(content).hexdigest()
        (self._folder / sha256).write_bytes(content)
        return {"path": str(self._folder / sha256), "sha256": sha256}

    def work(self, step: str, undo: str, script: str = "true", **more: Any) -> dict[str, Any]:
        context = {"variables": {"step": step}, "inputs": {}, "outputs": {}}
        return {
            "step": step, **self.delivered(script), "context": context, "outputs": [], "seconds": 20,
            "undo": self.delivered(undo), **more,
        }  # fmt: skip

    @property
    def did(self) -> list[str]:
        return (self._folder / "said").read_text().split() if (self._folder / "said").exists() else []


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(hook.state_folder, "path", lambda name: str(tmp_path / "state" / name))
    return Host(tmp_path)


def test_steps_that_share_a_rollback_hook_are_each_taken_back(host: Host) -> None:
    undo = "echo $TIDEGATE_STEP >> $said"
    for step in ("first", "second"):
        hook_step.apply(host.work(step, undo), host.journal(), False)
    answer = hook_step.rollback(host.journal())
    assert host.did == ["second", "first"]
    assert answer == {"undone": ["hook second", "hook first"], "left": []}
