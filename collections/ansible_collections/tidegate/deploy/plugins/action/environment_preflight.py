# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's half of `environment_preflight`: the index's checks for this node, and the result's file."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible_collections.tidegate.deploy.plugins.module_utils.environment import step_plan
from ansible_collections.tidegate.deploy.plugins.module_utils.host import step_record
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError
from ansible_collections.tidegate.deploy.plugins.plugin_utils import host_access, removal_action, step_work
from ansible_collections.tidegate.deploy.plugins.plugin_utils.environment_action import (
    BY_HAND,
    EnvironmentAction,
)

# What etcd listens on, which a control plane does not where etcd is elsewhere.
_ETCD_PORTS = (2379, 2380)


def _without_etcd(check: dict[str, Any]) -> dict[str, Any]:
    if check["kind"] != "port":
        return check
    ports = [one for one in check["expect"]["ports"] if one not in _ETCD_PORTS]
    return {**check, "expect": {**check["expect"], "ports": ports}}


class ActionModule(EnvironmentAction):
    STEP, MODULE = "preflight", "environment_preflight"

    def _is_meant(self) -> bool:
        return True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        if result.get("failed"):
            # Where an install asks for it, its failure is the install's.
            self._write(result["tidegate"], "install" if self._task.args.get("required") else "preflight")
        return result

    def _work(self) -> dict[str, Any]:
        bundle, inputs = self._task.args["bundle"], self._inputs()
        index, runtime = bundle["index"], self._spec.get("runtime_type")
        nodes, roles = self._nodes(), self._roles()
        shared = {"platforms": index["platforms"], "holder": str(self._spec.get("holder") or BY_HAND)}
        leaving = self._leaving()
        if leaving:
            return {
                **shared,
                "removal": removal_action.told(self._spec, self._vars, nodes, leaving, self._host),
            }
        step_plan.require_nodes(runtime, nodes)
        steps = self._steps_of_host()
        artifacts, files = bundle["delivered"]["artifacts"], bundle["files"]
        paths = [one["path"] for one in artifacts.values()] + bundle["delivered"]["hooks"]
        return {
            **shared,
            "wanted": [{"sha256": files[path]["sha256"], "size": files[path]["stamp"][0]} for path in paths],
            "checks": [
                _without_etcd(one) if inputs.get("etcd_endpoints") else one
                for one in index["checks"]
                if step_plan.is_meant(one, runtime, roles)
            ],
            "steps": [one["name"] for one in steps],
            "hooks": [one["name"] for one in steps if "hook" in one],
            "inputs": {name: value for name, value in inputs.items() if not step_plan.is_secret(name)},
            "rollback": self._spec.get("rollback"),
            "compatibility": index.get("compatibility") or {},
            "kubernetes": (bundle["runtime"] or {}).get("version") if runtime == "k8s" else None,
            "work": step_work.of(bundle, self._spec, inputs, nodes, self._host, artifacts),
        }

    def _ask(self, work: dict[str, Any]) -> dict[str, Any]:
        payload = json.dumps({**work, "clock": time.time()})
        answer = self._execute_module(
            module_name=f"tidegate.deploy.{self.MODULE}",
            module_args={"payload": payload},
            task_vars=self._vars,
        )
        if answer.get("unreachable"):
            raise AnsibleConnectionFailure(answer.get("msg", "unreachable"))
        if answer.get("failed"):
            raise host_access.failed(answer)
        return dict(answer)

    def _done(self, answer: dict[str, Any], started: float) -> dict[str, Any]:
        told = {"schema": "tidegate.preflight/v1", "host": self._host, **answer["found"]}
        told["checks"] = [{**one, "host": self._host} for one in [*told["checks"], *self._of_version()]]
        told["inputs"] = [one.shown() for one in step_plan.inputs(self._index(), self._spec)]
        told["steps"] = [step_record.step("preflight", "unchanged", started)]
        self._write(told)
        if self._task.args.get("required"):
            self._require(told)
        return {"changed": False, "tidegate": told}

    def _of_version(self) -> list[dict[str, Any]]:
        """A word of warning where the bundle does not call the version supported."""
        chosen = self._task.args["bundle"].get("runtime")
        if not chosen or chosen["status"] == "supported" or self._leaving():
            return []
        message = (
            f"{self._spec['runtime_type']} {chosen['version']} is of status {chosen['status']} in this bundle"
        )
        hint = "Ask for a version that is supported, where the bundle has one."
        return [
            {"level": "warning", "code": "runtime_not_supported", "check": "runtime", "message": message,
             "hint": hint, "found": chosen["status"]}
        ]  # fmt: skip

    def _require(self, told: dict[str, Any]) -> None:
        """Raises ReleaseError where something blocks, or is not as it was when the preview was made."""
        expected = ((self._spec.get("expect") or {}).get("fingerprints") or {}).get(self._host)
        # Where the task has begun, it is its own work that the host is another.
        is_begun = self._host in (self._spec.get("begun") or [])
        if expected and not is_begun and expected != told["fingerprint"]:
            raise ReleaseError(
                "preview_stale", "the host is not as it was when the preview was made", "Preview again."
            )
        blocking = [one for one in told["checks"] if one["level"] == "blocking"]
        if blocking:
            first = blocking[0]
            raise ReleaseError(
                first["code"], "; ".join(one["message"] for one in blocking), first["hint"], checks=blocking
            )

    def _keep(self, told: dict[str, Any]) -> None:
        """Its file has another name than those of the steps."""

    def _write(self, told: dict[str, Any], verb: str = "preflight") -> None:
        folder = self._spec.get("result_dir")
        if folder:
            path = Path(folder) / f"{self._host}.{verb}.json"
            with open(
                path, "w", opener=lambda name, flags: os.open(name, flags, 0o600), encoding="utf-8"
            ) as out:
                json.dump(told, out)
