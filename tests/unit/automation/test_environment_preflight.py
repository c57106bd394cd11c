# SPDX-License-Identifier: Apache-2.0
"""The controller's half of a preflight, without a host."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tidegate.deploy.plugins.action.environment_preflight import ActionModule

from controlplane.domain.step import STEP_OF_INSTALL, finished


def run(folder: Path, spec: dict[str, Any], bundle: dict[str, Any]) -> dict[str, Any]:
    """What the task answers where the host finds nothing in the way."""
    (folder / "spec.json").write_text(json.dumps(spec))
    task = SimpleNamespace(
        args={"environment_spec_file": str(folder / "spec.json"), "bundle": bundle}, async_val=0, check_mode=False,
        action="environment_preflight",
    )  # fmt: skip
    action = ActionModule(task, SimpleNamespace(_shell=SimpleNamespace(tmpdir="/none")), *[None] * 4)
    action._work = dict
    action._execute_module = lambda **_: {"found": {"checks": [], "plan": [], "fingerprint": "sha256:1"}}
    return dict(action.run(None, {"inventory_hostname": "a"}))


@pytest.mark.parametrize("status", ["supported", "preview"])
def test_a_version_that_is_not_supported_is_warned_of(tmp_path: Path, status: str) -> None:
    chosen = {"version": "1.36", "status": status}
    answer = run(tmp_path, {"runtime_type": "k8s"}, {"index": {"steps": []}, "runtime": chosen})
    told = [(one["level"], one["message"], one["host"]) for one in answer["tidegate"]["checks"]]
    warned = [("warning", "k8s 1.36 is of status preview in this bundle", "a")]
    assert told == (warned if status == "preview" else [])


def test_one_that_fails_is_told_as_the_step_that_began(tmp_path: Path) -> None:
    arguments = {"environment_spec_file": str(tmp_path / "none.json"), "bundle": {}}
    task = SimpleNamespace(args=arguments, async_val=0, check_mode=False, action="environment_preflight")
    connection = SimpleNamespace(_shell=SimpleNamespace(tmpdir="/none"))
    answer = ActionModule(task, connection, None, None, None, None).run(None, {"inventory_hostname": "a"})
    assert answer["failed"]
    ((action, told),) = finished("runner_on_failed", "a", answer["tidegate"])
    assert action == "step_failed"
    assert told["step"] == STEP_OF_INSTALL["tidegate.deploy.environment_preflight"]
