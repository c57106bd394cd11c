# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The strategy of a release as data for the role, read from the spec without templating it."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.tidegate.deploy.plugins.module_utils.compose import spec as release_spec
from ansible_collections.tidegate.deploy.plugins.module_utils.compose import strategy
from ansible_collections.tidegate.deploy.plugins.module_utils.host import step_record
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError


class ActionModule(ActionBase):
    """Runs on the controller only."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        known = task_vars or {}
        host = str(known.get("inventory_hostname", ""))
        try:
            spec = release_spec.load(
                self._task.args.get("release_spec_file"),
                self._task.args.get("release_spec") or known.get("release_spec"),
            )
            name = spec.get("strategy") or "rolling"
            params = strategy.parse(name, spec.get("strategy_params") or {})
        except (ReleaseError, strategy.StrategyError) as error:
            key = getattr(error, "error_key", "validation_error")
            told = step_record.failure(host, key, str(error), getattr(error, "hint", ""), [])
            return {"failed": True, "msg": str(error), "tidegate": told}
        hosts = list(known.get("ansible_play_hosts_all") or [host])
        size = params.get("max_parallel") or 1
        # One host alone compares in the same step that releases: nobody else could be touched before it.
        is_alone = name == "rolling" and len(hosts) == 1 and params["failure_budget"] == 0
        return {
            "changed": False, "strategy": name, "alone": is_alone, "project": spec["project"], "params": params,
            "release_id": spec["release_id"], "images": spec.get("images") or [],
            "first_share": strategy.first_share(hosts, params["percent"]) if params.get("mode") == "hosts" else [],
            "failure_budget": params.get("failure_budget", 0),
            "batches": [hosts[first : first + size] for first in range(0, len(hosts), size)],
        }  # fmt: skip
