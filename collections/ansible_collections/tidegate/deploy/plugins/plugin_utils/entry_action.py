# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's half of the network entry's modules: the document becomes a payload, answers become results."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.tidegate.deploy.plugins.module_utils.host import step_record
from ansible_collections.tidegate.deploy.plugins.module_utils.network_entry import parameters
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError
from ansible_collections.tidegate.deploy.plugins.module_utils.release.veil import Veil
from ansible_collections.tidegate.deploy.plugins.plugin_utils.release_action import _run_key

DOMAINS = {
    "validation_error": "preflight", "vip_conflict": "preflight", "kernel_module_missing": "preflight",
    "keepalived_config_invalid": "preflight", "backend_nodes_invalid": "preflight",
    "preflight_failed": "preflight", "certificate_invalid": "preflight", "bundle_index_missing": "integrity",
    "bundle_index_invalid": "integrity", "artifact_missing": "integrity",
    "artifact_checksum_mismatch": "integrity", "vip_unreachable": "health", "ssh_unreachable": "connection",
    "ssh_auth_failed": "auth", "preview_stale": "policy", "conflict": "policy", "resource_locked": "policy",
    "internal_error": "internal",
}  # fmt: skip
# Trying again changes nothing about these.
_FINAL = {"validation_error", "preview_stale", "conflict", "bundle_index_missing", "bundle_index_invalid"}
HOSTS_GROUP = "network_entry_hosts"


class EntryAction(ActionBase):
    """`VERB` names the result file; `_work` does the task and answers the task's result.

    A node that is neither director nor back end is only led to the VIP: where it cannot be reached, a task that
    `GOES_ON_WITHOUT` it answers so (`_not_led`), and the node is led there by the next apply.
    """

    VERB = ""
    GOES_ON_WITHOUT = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        self._vars = task_vars or {}
        self._host = str(self._vars.get("inventory_hostname", ""))
        self._spec: dict[str, Any] = {}
        # Steps of this task, after those that tasks before it took for the same result.
        self._steps: list[dict[str, Any]] = []
        self._attempt = 1
        try:
            key = os.environ.get("TIDEGATE_HMAC_KEY")
            self._veil = Veil(bytes.fromhex(key) if key else _run_key())
            self._spec = self._load()
            self._entry = parameters.parse(self._spec)
            return self._work()
        except ReleaseError as error:
            return self._failed(error.error_key, str(error), error.hint, error.detail)
        except AnsibleConnectionFailure as error:
            if self.VERB == "status":
                raise
            if self.GOES_ON_WITHOUT and not self._has_part() and not self._spec.get("for_rollback"):
                return self._not_led(str(error))
            hint = (
                "See that it answers."
                if self._has_part()
                else "See that it answers, or let it leave the cluster."
            )
            return self._failed("ssh_unreachable", f"the host cannot be reached: {error}", hint)
        except AnsibleError as error:
            return self._failed("internal_error", str(error), "See that the user may become root.")

    def _work(self) -> dict[str, Any]:
        raise NotImplementedError

    def _has_part(self) -> bool:
        return self._entry.node(self._host) is not None

    def _not_led(self, said: str) -> dict[str, Any]:
        """What a task answers that goes on without this node, which cannot be reached."""
        return {
            "changed": False,
            "not_led": True,
            "tidegate": step_record.done(self._host, False, self._before() + self._steps, not_led=True),
        }

    def _load(self) -> dict[str, Any]:
        """The document from its file or as given by hand: raw data, of which nothing is a template."""
        path = self._task.args.get("network_entry_spec_file")
        if path:
            try:
                given = json.loads(Path(path).read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise ReleaseError(
                    "validation_error", f"cannot read the network entry's spec: {error}"
                ) from error
        else:
            inline = self._task.args.get("network_entry_spec") or self._vars.get("network_entry_spec")
            given = json.loads(json.dumps(inline, default=str))
        if not isinstance(given, dict):
            raise ReleaseError(
                "validation_error", "give network_entry_spec_file, or network_entry_spec as a mapping"
            )
        given.setdefault("api", parameters.API)
        given.setdefault("entry_id", "by-hand")
        if "nodes" not in given:
            given["nodes"] = self._nodes_of_play()
        return given

    def _nodes_of_play(self) -> list[dict[str, Any]]:
        """By hand the nodes are the hosts of the play, with the addresses of the inventory."""
        found = []
        for name in self._vars.get("groups", {}).get(HOSTS_GROUP, []):
            host = self._vars["hostvars"][name]
            address = host.get("tidegate_address") or host.get("ansible_host") or name
            found.append({"host": name, "address": str(address), "role": host.get("tidegate_role")})
        return found

    def _payload(self, **more: Any) -> dict[str, Any]:
        wanted = ("api", "entry_id", "nodes", "lvs_vip", "cluster_networks")
        return {
            "document": {name: self._spec[name] for name in wanted if name in self._spec},
            "host": self._host,
            "holder": str(self._spec.get("holder") or "a playbook run by hand"),
            "fencing_token": self._spec.get("fencing_token"),
            "operation": self._spec.get("task_id"),
            **more,
        }

    def _direct(self) -> str | None:
        """Where the first control plane is itself: the way to it without the VIP."""
        planes = [one for one in self._spec["nodes"] if one.get("role") == "control_plane"]
        return str(planes[0]["address"]) if planes else None

    def _ask(self, module: str, payload: dict[str, Any]) -> dict[str, Any]:
        """Run a module on the host; its failure is raised, after its steps were kept."""
        answer = self._execute_module(
            module_name=f"tidegate.deploy.{module}",
            module_args={"payload": json.dumps(payload)},
            task_vars=self._vars,
        )
        if answer.get("unreachable"):
            raise AnsibleConnectionFailure(answer.get("msg", "unreachable"))
        answer = json.loads(json.dumps(answer, default=str))
        self._steps += [{**one, "attempt": self._attempt} for one in answer.get("steps") or []]
        if answer.get("failed"):
            problem = answer.get("problem") or {}
            said = str(answer.get("msg") or "the module failed")
            if not problem:
                said += " " + str(answer.get("module_stderr") or answer.get("exception") or "")[-1500:]
            raise ReleaseError(
                problem.pop("error_key", "internal_error"), said, problem.pop("hint", ""), **problem
            )
        return answer

    def _tried(self, work: Any) -> Any:
        """`work()`, again after a while when it fails, as often as the retry policy says."""
        while True:
            try:
                return work()
            except ReleaseError as error:
                if error.error_key in _FINAL or self._attempt >= self._entry.max_retries:
                    raise
            # Waited for by this host's own process; the others go on.
            time.sleep(self._entry.backoff_seconds * self._attempt)
            self._attempt += 1

    def _done(self, changed: bool, **more: Any) -> dict[str, Any]:
        result = step_record.done(self._host, changed, self._before() + self._steps, **more)
        result["changed"] = changed or any(one["status"] == "succeeded" for one in self._before())
        self._keep(self._host, result)
        return {"changed": changed, "tidegate": result}

    def _before(self) -> list[dict[str, Any]]:
        return list(self._task.args.get("steps") or [])

    def _failed(
        self, key: str, message: str, hint: str, detail: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        steps = self._before() + self._steps
        result = step_record.failure(self._host, key, message, hint, steps)
        result["failure_domain"] = result["diagnostics"]["failure_domain"] = DOMAINS.get(key, "runtime")
        result["detail"] = detail or {}
        self._keep(self._host, result)
        return {"failed": True, "changed": result["changed"], "msg": message, "tidegate": result}

    def _keep(self, host: str, result: dict[str, Any]) -> None:
        folder = self._spec.get("result_dir")
        if not folder:
            return
        path = Path(folder) / f"{host}.{self.VERB}.json"
        with open(path, "w", opener=lambda name, flags: os.open(name, flags, 0o600), encoding="utf-8") as out:
            json.dump(result, out)
