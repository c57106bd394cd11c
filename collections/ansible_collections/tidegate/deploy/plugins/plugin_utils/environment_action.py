# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's half of the environment's steps: the document becomes work for a host, its answer a step."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.tidegate.deploy.plugins.module_utils.environment import step_plan
from ansible_collections.tidegate.deploy.plugins.module_utils.host import step_record
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError
from ansible_collections.tidegate.deploy.plugins.plugin_utils import (
    cluster_inputs,
    cluster_nodes,
    host_access,
    step_work,
)

_FOLDER = re.compile(r"/[A-Za-z0-9._/-]+\Z")
# How a node came into its cluster: one that leaves is taken back of its own way alone.
_JOINED = {
    "control_plane_init": "first_control_plane",
    "control_plane_join": "other_control_plane",
    "worker_join": "worker",
}
# The first step that makes something, hence the last that is undone.
FIRST = "container_runtime"
BY_HAND = "a playbook run by hand"
LONGEST_PAUSE_SECONDS = 15
# To try again would end in the same way: what was asked for is wrong, or somebody else's word stands against it.
FINAL = frozenset(
    [
        "validation_error",
        "preview_stale",
        "resource_locked",
        "conflict",
        "artifact_missing",
        "artifact_checksum_mismatch",
        "artifact_version_unsupported",
        "hook_missing",
        "insufficient_nodes",
        "storage_full",
        "ssh_auth_failed",
    ]
)


class EnvironmentAction(ActionBase):
    """`STEP` is the step's name and, without a `MODULE`, the module's; `_work` makes what the host is told.

    A step that the index, or the environment's runtime, does not mean for a host skips itself there.
    """

    STEP = ""
    MODULE = ""
    # The runtimes that the step is for.
    RUNTIMES: tuple[str, ...] = ("compose",)

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        self._vars = task_vars or {}
        self._host = str(self._vars.get("inventory_hostname", ""))
        self._verb = str(self._task.args.get("verb") or "apply")
        self._spec: dict[str, Any] = {}
        self._attempt = 1
        started = time.time()
        try:
            self._spec = self._load()
            if not self._is_meant():
                return self._skipped()
            return self._done(self._tried(self._work()), started)
        except ReleaseError as error:
            return self._failed(error, started)
        except AnsibleConnectionFailure as error:
            hint = "See that the host answers; the next run goes on at this step."
            return self._failed(
                ReleaseError("ssh_unreachable", f"the host is lost: {error.message}", hint), started
            )
        except AnsibleError as error:
            return self._failed(host_access.refused(error), started)

    def _work(self) -> dict[str, Any]:
        """What the host is told of an install; of a rollback it is told nothing, its journal knows."""
        if self._verb == "rollback":
            return {}
        given = self._task.args
        return step_work.of(
            given["bundle"],
            self._spec,
            self._inputs(),
            self._nodes(),
            self._host,
            given.get("artifacts") or {},
        )

    def _nodes(self) -> list[dict[str, Any]]:
        """The environment's nodes, as its document has them."""
        return cluster_nodes.documents(self._spec, self._vars)

    def _roles(self) -> set[str]:
        """What the host is to the index's `runs_on`."""
        spec = {**self._spec, "nodes": self._nodes()}
        return step_plan.roles(spec, self._host, self._vars.get("tidegate_role"))

    def _leaving(self) -> list[str]:
        """The hosts that are to leave the cluster, where that is what the run is for."""
        return cluster_nodes.leaving(self._spec, self._vars, self._nodes())

    def _is_meant(self) -> bool:
        runtime, leaving = self._spec.get("runtime_type"), self._leaving()
        if leaving and (self._host in leaving) != (self._verb == "rollback"):
            return False
        if self._verb == "rollback":
            is_its = not leaving or _JOINED.get(self.STEP, "all") in self._roles()
            return is_its and (not runtime or runtime in self.RUNTIMES)
        if (runtime or "compose") not in self.RUNTIMES:
            return False
        return any(one["name"] == self.STEP for one in self._steps_of_host())

    def _steps_of_host(self) -> list[dict[str, Any]]:
        return step_plan.steps(self._index(), self._spec.get("runtime_type"), self._roles())

    def _skipped(self) -> dict[str, Any]:
        told = step_record.done(self._host, False, self._before())
        told["changed"] = any(one["status"] == "succeeded" for one in told["steps"])
        return {"changed": False, "skipped": True, "tidegate": told}

    def _index(self) -> dict[str, Any]:
        """The bundle's index, where the task was given the bundle."""
        found: dict[str, Any] = (self._task.args.get("bundle") or {}).get("index") or {"steps": []}
        return found

    def _inputs(self) -> dict[str, Any]:
        """The inputs: the document's over the profile's over the platform's defaults. Raises ReleaseError."""
        inputs = {one.name: one.value for one in step_plan.inputs(self._index(), self._spec)}
        if self._spec.get("runtime_type") == "k8s":
            return cluster_inputs.checked(inputs)
        inputs.setdefault("docker_existing", "refuse")
        inputs.setdefault("docker_data_root", "/var/lib/docker")
        for name in ("docker_log_max_size_mb", "docker_log_max_files"):
            value = inputs.setdefault(name, 3)
            if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 10_000:
                raise ReleaseError("validation_error", f"{name}: expected a whole number from 1 to 10000")
        if inputs["docker_existing"] not in ("adopt", "refuse"):
            raise ReleaseError("validation_error", "docker_existing: expected adopt or refuse")
        root = inputs["docker_data_root"]
        if not isinstance(root, str) or not _FOLDER.match(root) or ".." in root.split("/"):
            raise ReleaseError("validation_error", "docker_data_root: expected the path of a folder")
        return inputs

    def _load(self) -> dict[str, Any]:
        path = self._task.args.get("environment_spec_file") or self._vars.get("environment_spec_file")
        if not path:
            return {}
        try:
            given = json.loads(Path(str(path)).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ReleaseError("validation_error", f"cannot read the environment spec: {error}") from error
        if not isinstance(given, dict):
            raise ReleaseError("validation_error", "the environment spec is no mapping")
        return given

    def _tried(self, work: dict[str, Any]) -> dict[str, Any]:
        """Ask the host, again where that can help, as often as the index lets."""
        retries = step_plan.limits(self._index(), self.STEP).retries
        for pause in (min(2**number, LONGEST_PAUSE_SECONDS) for number in range(retries)):
            try:
                return self._ask(work)
            except (ReleaseError, AnsibleConnectionFailure) as error:
                if isinstance(error, ReleaseError) and error.error_key in FINAL:
                    raise
                time.sleep(pause)
                self._attempt += 1
                self._connection.reset()
        return self._ask(work)

    def _ask(self, work: dict[str, Any]) -> dict[str, Any]:
        payload = {
            "step": self.STEP,
            "timeout": self._timeout(),
            # What is run by hand has no name of its own: who works on the host under it may be anybody.
            "patience": self._timeout() if self._spec.get("holder") else 0,
            "verb": self._verb,
            "work": work,
            "holder": str(self._spec.get("holder") or BY_HAND),
            "token": self._spec.get("fencing_token"),
            "task": str(self._spec.get("task_id") or BY_HAND),
            "undoes": (self._spec.get("rollback") or {}).get("undoes"),
            "last": self._ends(),
        }
        answer = self._execute_module(
            module_name=f"tidegate.deploy.{self.MODULE or self.STEP}",
            module_args={"payload": json.dumps(payload)},
            task_vars=self._vars,
        )
        if answer.get("unreachable"):
            raise AnsibleConnectionFailure(answer.get("msg", "unreachable"))
        if answer.get("failed"):
            raise host_access.failed(answer)
        return dict(answer)

    def _done(self, answer: dict[str, Any], started: float) -> dict[str, Any]:
        outcome = answer["outcome"]
        detail = {
            **outcome.get("detail", {}),
            **{name: outcome[name] for name in ("changes", "undone", "left") if name in outcome},
        }
        status = "succeeded" if answer["changed"] else "unchanged"
        step = self._step(status, started, **detail)
        told = step_record.done(self._host, bool(answer["changed"]), [*self._before(), step])
        told["changed"] = any(one["status"] == "succeeded" for one in told["steps"])
        self._keep(told)
        return {"changed": answer["changed"], "tidegate": told}

    def _failed(self, error: ReleaseError, started: float) -> dict[str, Any]:
        told = {"error_key": error.error_key, "remediation": error.hint, **error.detail}
        step = self._step("failed", started, str(error), **told)
        result = step_record.failure(
            self._host, error.error_key, str(error), error.hint, [*self._before(), step]
        )
        self._keep(result)
        return {"failed": True, "changed": result["changed"], "msg": str(error), "tidegate": result}

    def _timeout(self) -> int:
        """Seconds that the step may take on its host."""
        return step_plan.limits(self._index(), self.STEP).timeout

    def _ends(self) -> bool:
        """Whether the host's claim ends with this step: the last that is done, or the last that is undone."""
        if self._verb == "rollback":
            return self.STEP == FIRST
        if self._leaving():
            return self.STEP == "cluster_network"
        by_role = [one["name"] for one in self._steps_of_host() if "role" in one]
        return not by_role or by_role[-1] == self.STEP

    def _step(self, status: str, started: float, output: str = "", **detail: Any) -> dict[str, Any]:
        record = step_record.step(self.STEP, status, started, output, **detail)
        return {**record, "attempt": self._attempt} if self._attempt > 1 else record

    def _before(self) -> list[dict[str, Any]]:
        return list(self._task.args.get("steps") or [])

    def _keep(self, told: dict[str, Any]) -> None:
        folder = self._spec.get("result_dir")
        if folder:
            verb = "install" if self._verb == "apply" else "rollback"
            path = Path(folder) / f"{self._host}.{verb}.json"
            with open(
                path, "w", opener=lambda name, flags: os.open(name, flags, 0o600), encoding="utf-8"
            ) as out:
                json.dump(told, out)
