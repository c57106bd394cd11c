# SPDX-License-Identifier: Apache-2.0
"""A host whose install has hooks: they really run, here, and so do both halves of its module, without Ansible."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from ansible_collections.tidegate.deploy.plugins.action import environment_hooks
from ansible_collections.tidegate.deploy.plugins.module_utils.environment import hook_step
from ansible_collections.tidegate.deploy.plugins.module_utils.environment.journal import Journal
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError


class HookedHost:
    """`did` is what the hooks wrote to `$said`, in order; `told` what the module said while it worked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, dict[str, str]] = {}
        self._steps: list[dict[str, Any]] = []
        self.told: list[dict[str, Any]] = []

    def journal(self, secrets: dict[str, Any] | None = None) -> Journal:
        return Journal(str(self._folder / "journal.json"), secrets=secrets)

    @property
    def written(self) -> str:
        """What the journal's file has in it."""
        return (self._folder / "journal.json").read_text()

    @property
    def did(self) -> list[str]:
        return (self._folder / "said").read_text().split() if (self._folder / "said").exists() else []

    def delivered(self, script: str) -> dict[str, str]:
        """A hook as the host's store has it."""
        content = f"#!/bin/sh\nsaid={self._folder}/said\n{script}\n".encode()
        sha256 = hashlib.sha256(content).hexdigest()
        (self._folder / sha256).write_bytes(content)
        return {"path": str(self._folder / sha256), "sha256": sha256}

    def work(self, step: str, undo: str, script: str = "true", **more: Any) -> dict[str, Any]:
        """What the host's half is told of one hook."""
        context = {"variables": {"step": step}, "inputs": {}, "outputs": {}}
        return {
            "step": step, **self.delivered(script), "context": context, "outputs": [], "seconds": 20,
            "undo": self.delivered(undo), "hidden": [], **more,
        }  # fmt: skip

    def step(self, name: str, script: str, undo: str | None = None, **more: Any) -> None:
        """Give the bundle's index a step that is this hook."""
        self._files[f"hooks/{name}"] = self.delivered(script)
        step = {
            "name": name,
            "hook": f"hooks/{name}",
            "runtime": ["compose"],
            "runs_on": ["all"],
            "timeout": 20,
        }
        if undo is not None:
            self._files[f"hooks/{name}-undo"] = self.delivered(undo)
            step["rollback"] = {"hook": f"hooks/{name}-undo"}
        self._steps.append({**step, **more})

    def run(self, verb: str = "apply", **spec: Any) -> dict[str, Any]:
        """What the task answers; `spec` is the document that it is told."""
        path = self._folder / "spec.json"
        path.write_text(json.dumps({"runtime_type": "compose", **spec}))
        arguments = {
            "verb": verb, "environment_spec_file": str(path),
            "bundle": {"index": {"steps": self._steps}, "files": self._files},
            "hooks": {name: one["path"] for name, one in self._files.items()},
        }  # fmt: skip
        task = SimpleNamespace(args=arguments, async_val=0, check_mode=False, action="environment_hooks")
        connection = SimpleNamespace(_shell=SimpleNamespace(tmpdir="/none"), reset=lambda: None)
        action = environment_hooks.ActionModule(task, connection, None, None, None, None)
        action._early_needs_tmp_path = lambda: False
        action._execute_module = self._module
        with mock.patch.object(environment_hooks.progress, "tell", self._say):
            return dict(action.run(None, {"inventory_hostname": "a"}))

    def _say(self, _task: Any, _host: str, who: str, how_far: str, **more: Any) -> None:
        self.told.append({"object": who, "progress": how_far, "did": self.did, **more})

    def _module(self, module_args: dict[str, Any], **_: Any) -> dict[str, Any]:
        given = json.loads(module_args["payload"])
        try:
            if given["verb"] == "rollback":
                told: dict[str, Any] = hook_step.rollback(self.journal(given["work"]["secrets"]))
            else:
                told = hook_step.apply(given["work"], self.journal(), False)
        except ReleaseError as error:
            return {
                "failed": True, "msg": str(error), "error_key": error.error_key, "hint": error.hint,
                "detail": error.detail,
            }  # fmt: skip
        return {"changed": bool(told.get("changes") or told.get("undone")), "outcome": told}
