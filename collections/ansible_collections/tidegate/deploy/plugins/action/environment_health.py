# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's half of `environment_health`: what was found becomes the result, and its file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError
from ansible_collections.tidegate.deploy.plugins.plugin_utils import host_access
from ansible_collections.tidegate.deploy.plugins.plugin_utils.environment_action import EnvironmentAction


class ActionModule(EnvironmentAction):
    STEP = "environment_health"

    def _is_meant(self) -> bool:
        return True

    def _work(self) -> dict[str, Any]:
        return {}

    def _ask(self, work: dict[str, Any]) -> dict[str, Any]:
        answer = self._execute_module(
            module_name=f"tidegate.deploy.{self.STEP}", module_args={}, task_vars=self._vars
        )
        if answer.get("unreachable"):
            raise AnsibleConnectionFailure(answer.get("msg", "unreachable"))
        if answer.get("failed"):
            raise host_access.failed(answer)
        return {"changed": False, "outcome": {"detail": {"checks": answer["checks"]}}}

    def _done(self, answer: dict[str, Any], started: float) -> dict[str, Any]:
        checks = answer["outcome"]["detail"]["checks"]
        ill = [one for one in checks if not one["healthy"]]
        if ill:
            said = "; ".join(f"{one['check']}: {one['message']}" for one in ill)
            raise ReleaseError("preflight_failed", said, ill[0]["hint"], checks=checks)
        return super()._done(answer, started)

    def _keep(self, told: dict[str, Any]) -> None:
        folder = self._spec.get("result_dir")
        if not folder:
            return
        checks = told["steps"][-1]["detail"].get("checks", [])
        document = {
            "schema": "tidegate.health/v1",
            "host": self._host,
            "healthy": "error_key" not in told,
            "error_key": told.get("error_key"),
            "checks": checks,
        }
        path = Path(folder) / f"{self._host}.health.json"
        with open(path, "w", opener=lambda name, flags: os.open(name, flags, 0o600), encoding="utf-8") as out:
            json.dump(document, out)
