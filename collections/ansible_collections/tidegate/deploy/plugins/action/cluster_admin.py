# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's half of `cluster_admin`: asked of the first control plane alone, kept out of results."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError
from ansible_collections.tidegate.deploy.plugins.plugin_utils.cluster_work import ClusterWork
from ansible_collections.tidegate.deploy.plugins.plugin_utils.environment_action import EnvironmentAction


class ActionModule(EnvironmentAction):
    STEP = MODULE = "cluster_admin"
    RUNTIMES = ("k8s",)

    def _is_meant(self) -> bool:
        return self._spec.get("runtime_type") == "k8s" and "first_control_plane" in self._roles()

    def _work(self) -> dict[str, Any]:
        self._key = ""
        if self._verb in ("close", "nodes"):
            return {}
        cluster = ClusterWork(
            self._task.args["bundle"], self._spec, self._inputs(), self._nodes(), self._host
        )
        if self._verb == "kubeconfig":
            return {"server": cluster.server()}
        role = self._task.args.get("role")
        names = [one.name for one in cluster.nodes if one.role == role]
        if role != "control_plane":
            return {"names": names, "config": ""}
        self._key = secrets.token_hex(32)
        return {"names": names, "config": cluster.init_config(certificate_key=self._key)}

    def _ask(self, work: dict[str, Any]) -> dict[str, Any]:
        payload = json.dumps({"verb": self._verb, "work": work})
        answer = self._execute_module(
            module_name="tidegate.deploy.cluster_admin",
            module_args={"payload": payload},
            task_vars=self._vars,
        )
        if answer.get("unreachable"):
            raise AnsibleConnectionFailure(answer.get("msg", "unreachable"))
        if answer.get("failed"):
            key = answer.get("error_key", "internal_error")
            said = f"{answer.get('msg')} {answer.get('module_stderr') or ''}".strip()[-2000:]
            raise ReleaseError(key, said, answer.get("hint", ""))
        return dict(answer)

    def _done(self, answer: dict[str, Any], started: float) -> dict[str, Any]:
        admission = dict(answer["admission"])
        if admission.get("token") and self._key:
            admission["certificate_key"] = self._key
        folder = self._spec.get("result_dir")
        if folder and "kubeconfig" in admission:
            path = Path(folder) / f"{self._host}.cluster.json"
            with open(
                path, "w", opener=lambda name, flags: os.open(name, flags, 0o600), encoding="utf-8"
            ) as out:
                json.dump({"kubeconfig": admission["kubeconfig"]}, out)
        return {"changed": False, "admission": admission}

    def _keep(self, told: dict[str, Any]) -> None:
        if "error_key" in told:
            self._verb = "apply"
            super()._keep(told)
