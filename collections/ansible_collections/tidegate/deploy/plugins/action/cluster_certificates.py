# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's half of `cluster_certificates`: the new kubeconfig goes into a file, and into no result."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from ansible_collections.tidegate.deploy.plugins.module_utils.host import step_record
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError
from ansible_collections.tidegate.deploy.plugins.plugin_utils.environment_action import (
    BY_HAND,
    EnvironmentAction,
)


class ActionModule(EnvironmentAction):
    STEP = "cluster_certificates"
    RUNTIMES = ("k8s",)

    def _is_meant(self) -> bool:
        return True

    def _work(self) -> dict[str, Any]:
        self._verb = str(self._task.args.get("verb") or "list")
        asked = self._spec.get("certificates") or {}
        days = asked.get("within_days", self._task.args.get("within_days", 30))
        fingerprints = (self._spec.get("expect") or {}).get("fingerprints") or {}
        return {
            # By hand each run is an operation of its own.
            "operation": str(self._spec.get("task_id") or f"{BY_HAND} at {time.time()}"),
            "expected": fingerprints.get(self._host),
            "within_days": int(days),
        }

    def _done(self, answer: dict[str, Any], started: float) -> dict[str, Any]:
        outcome = dict(answer["outcome"])
        if not outcome and self._spec.get("nodes"):
            said = "there is no control plane that kubeadm made on this host"
            raise ReleaseError("preflight_failed", said, "See whether the environment is installed.")
        kubeconfig = outcome.pop("kubeconfig", None)
        if kubeconfig and "first_control_plane" in self._roles():
            self._write("cluster", {"kubeconfig": kubeconfig})
        if outcome:
            self._write("certificates", {"schema": "tidegate.certificates/v1", "host": self._host, **outcome})
        told = step_record.done(self._host, bool(answer["changed"]), list(answer.get("steps") or []))
        listed = {"certificates": outcome.get("certificates", []), "checks": outcome.get("checks", [])}
        return {"changed": bool(answer["changed"]), "tidegate": {**told, **listed}}

    def _failed(self, error: ReleaseError, started: float) -> dict[str, Any]:
        steps = list(error.detail.pop("steps", None) or [])
        if not any(one["status"] == "failed" for one in steps):
            detail = {"error_key": error.error_key, "remediation": error.hint, **error.detail}
            steps.append(step_record.step("preflight", "failed", started, str(error), **detail))
        told = step_record.failure(self._host, error.error_key, str(error), error.hint, steps)
        return {"failed": True, "changed": told["changed"], "msg": str(error), "tidegate": told}

    def _write(self, verb: str, document: dict[str, Any]) -> None:
        folder = self._spec.get("result_dir")
        if not folder:
            return
        path = Path(folder) / f"{self._host}.{verb}.json"
        with open(path, "w", opener=lambda name, flags: os.open(name, flags, 0o600), encoding="utf-8") as out:
            json.dump(document, out)
