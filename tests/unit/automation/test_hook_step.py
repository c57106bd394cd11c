# SPDX-License-Identifier: Apache-2.0
"""What the hooks of an install did is taken back by their rollback hooks, the last first, each once."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.environment import hook, hook_step

from tests.unit.automation.hooked_host import HookedHost


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HookedHost:
    monkeypatch.setattr(hook.state_folder, "path", lambda name: str(tmp_path / "state" / name))
    return HookedHost(tmp_path)


def test_steps_that_share_a_rollback_hook_are_each_taken_back(host: HookedHost) -> None:
    undo = "echo $TIDEGATE_STEP >> $said"
    for step in ("first", "second"):
        hook_step.apply(host.work(step, undo), host.journal(), False)
    answer = hook_step.rollback(host.journal())
    assert host.did == ["second", "first"]
    assert answer == {"undone": ["hook second", "hook first"], "left": []}


def test_what_could_not_be_taken_back_is_tried_again(host: HookedHost, tmp_path: Path) -> None:
    undo = f"echo tried >> $said; test -e {tmp_path}/mended"
    hook_step.apply(host.work("first", undo), host.journal(), False)
    assert hook_step.rollback(host.journal())["left"] == ["hook first: the hook ended with 1"]
    (tmp_path / "mended").touch()
    assert hook_step.rollback(host.journal()) == {"undone": ["hook first"], "left": []}
    assert hook_step.rollback(host.journal()) == {"undone": [], "left": []}
    assert host.did == ["tried", "tried"]
