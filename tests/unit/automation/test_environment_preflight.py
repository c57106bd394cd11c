# SPDX-License-Identifier: Apache-2.0
"""The controller's half of a preflight, without a host."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from ansible_collections.tidegate.deploy.plugins.action.environment_preflight import ActionModule

from controlplane.domain.step import STEP_OF_INSTALL, finished


def test_one_that_fails_is_told_as_the_step_that_began(tmp_path: Path) -> None:
    arguments = {"environment_spec_file": str(tmp_path / "none.json"), "bundle": {}}
    task = SimpleNamespace(args=arguments, async_val=0, check_mode=False, action="environment_preflight")
    connection = SimpleNamespace(_shell=SimpleNamespace(tmpdir="/none"))
    answer = ActionModule(task, connection, None, None, None, None).run(None, {"inventory_hostname": "a"})
    assert answer["failed"]
    ((action, told),) = finished("runner_on_failed", "a", answer["tidegate"])
    assert action == "step_failed"
    assert told["step"] == STEP_OF_INSTALL["tidegate.deploy.environment_preflight"]
