# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's half of `environment_hooks`: one step after the other, each with what those before it told."""

from __future__ import annotations

import time
from typing import Any

from ansible_collections.tidegate.deploy.plugins.module_utils.environment import step_plan
from ansible_collections.tidegate.deploy.plugins.module_utils.host import step_record
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError
from ansible_collections.tidegate.deploy.plugins.plugin_utils import progress
from ansible_collections.tidegate.deploy.plugins.plugin_utils.environment_action import EnvironmentAction

# So that the hook's own end, which says more, comes before the step's.
GRACE_SECONDS = 10


class ActionModule(EnvironmentAction):
    STEP = MODULE = "environment_hooks"

    def _is_meant(self) -> bool:
        return True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        self._told: list[dict[str, Any]] = []
        return super().run(tmp, task_vars)

    def _work(self) -> dict[str, Any]:
        return {}

    def _tried(self, work: dict[str, Any]) -> dict[str, Any]:
        if self._verb == "rollback":
            return self._ask({"secrets": self._secrets()})
        roles = self._roles()
        done = set((self._spec.get("resume") or {}).get(self._host) or [])
        before = (self._spec.get("outputs") or {}).get(self._host) or {}
        hooks = [one for one in self._steps_of_host() if "hook" in one]
        outputs: dict[str, Any] = {}
        has_changed = False
        for number, step in enumerate(hooks):
            self.STEP, started = step["name"], time.time()
            if step["name"] in done:
                # Nothing is done, and nothing is told of it; but it is known what it told then.
                outputs.update(before.get(step["name"]) or {})
                continue
            self._is_last = number == len(hooks) - 1
            progress.tell(self._task, self._host, step["name"], "begins", begins=True)
            answer = super()._tried(self._of(step, outputs, roles))
            detail = answer["outcome"]["detail"]
            outputs.update(detail.get("outputs", {}))
            has_changed = has_changed or bool(answer["changed"])
            status = "succeeded" if answer["changed"] else "unchanged"
            self._told.append(self._step(status, started, **detail))
            # At once: what follows may be cut, and this stays done.
            progress.tell(self._task, self._host, step["name"], status, steps=self._told[-1:])
            self._attempt = 1
        return {"changed": has_changed, "outcome": {}}

    def _of(self, step: dict[str, Any], outputs: dict[str, Any], roles: set[str]) -> dict[str, Any]:
        """What the host is told of one hook."""
        inputs = self._inputs()
        named = {name: inputs[name] for name in step.get("inputs") or [] if name in inputs}
        secrets = self._secrets()
        artifacts = self._task.args.get("artifacts") or {}
        image = (artifacts.get("test-image") or {}).get("references") or [None]
        variables = {
            "step": step["name"],
            "host": self._host,
            "role": next(iter(sorted(roles - {"all", "first_control_plane", "other_control_plane"})), None),
            "runtime": self._spec.get("runtime_type"),
            "environment": self._spec.get("environment_id"),
            "test_image": image[0],
        }
        limits = step_plan.limits(self._index(), step["name"])
        undo = (step.get("rollback") or {}).get("hook")
        return {
            "step": step["name"],
            **self._delivered(step["hook"]),
            "context": {"variables": variables, "inputs": named, "outputs": outputs},
            "outputs": step.get("outputs") or [],
            "seconds": limits.timeout,
            "undo": self._delivered(undo) if undo else None,
            "hidden": [name for name in named if name in secrets],
        }

    def _secrets(self) -> dict[str, Any]:
        """The secret inputs of the document; one of a profile stands in the bundle, for everybody."""
        asked = self._spec.get("inputs") or {}
        return {name: value for name, value in asked.items() if step_plan.is_secret(name)}

    def _delivered(self, path: str) -> dict[str, str]:
        files = self._task.args["bundle"]["files"]
        there = (self._task.args.get("hooks") or {}).get(path)
        if there is None or path not in files:
            raise ReleaseError("hook_missing", f"{path} was not delivered", "Deliver the bundle again.")
        return {"path": there, "sha256": files[path]["sha256"]}

    def _timeout(self) -> int:
        return super()._timeout() + GRACE_SECONDS

    def _ends(self) -> bool:
        return self._verb == "apply" and self._is_last

    def _step(self, status: str, started: float, output: str = "", **detail: Any) -> dict[str, Any]:
        said = str(detail.pop("stdout", ""))
        record = super()._step(status, started, output, **detail)
        exit_code = detail.get("exit_code", record["exit_code"])
        return {**record, "stdout_tail": step_record.tail(said), "exit_code": exit_code}

    def _done(self, answer: dict[str, Any], started: float) -> dict[str, Any]:
        if self._verb == "rollback":
            return super()._done(answer, started)
        told = step_record.done(self._host, False, [*self._before(), *self._told])
        told["changed"] = any(one["status"] == "succeeded" for one in told["steps"])
        self._keep(told)
        return {"changed": answer["changed"], "tidegate": told}

    def _before(self) -> list[dict[str, Any]]:
        # Those that were done before one failed are told with it.
        return [*super()._before(), *self._told] if self._has_failed else super()._before()

    def _failed(self, error: ReleaseError, started: float) -> dict[str, Any]:
        self._has_failed = True
        return super()._failed(error, started)

    _has_failed = False
    _is_last = True
