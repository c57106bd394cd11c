# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's half of `cluster_network`: the nodes are those that the first control plane told of."""

from __future__ import annotations

from typing import Any

from ansible_collections.tidegate.deploy.plugins.plugin_utils import cluster_nodes
from ansible_collections.tidegate.deploy.plugins.plugin_utils.environment_action import EnvironmentAction


class ActionModule(EnvironmentAction):
    STEP = "cluster_network"
    RUNTIMES = ("k8s",)

    def _work(self) -> dict[str, Any]:
        work = super()._work()
        if self._verb == "rollback":
            return work
        first = cluster_nodes.first(cluster_nodes.of(self._nodes()))
        kept = self._vars["hostvars"][first.host].get(str(self._task.args.get("nodes"))) or {}
        return {**work, "nodes": (kept.get("admission") or {}).get("nodes") or []}
