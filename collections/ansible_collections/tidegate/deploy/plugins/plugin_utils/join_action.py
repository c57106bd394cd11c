# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's half of joining a cluster: what lets a node in is read where the first control plane left it."""

from __future__ import annotations

from typing import Any

from ansible_collections.tidegate.deploy.plugins.plugin_utils.cluster_work import ClusterWork
from ansible_collections.tidegate.deploy.plugins.plugin_utils.environment_action import EnvironmentAction


class JoinAction(EnvironmentAction):
    """The argument `admission` names the variable; what is in it never becomes an argument, for those are printed."""

    RUNTIMES = ("k8s",)

    def _work(self) -> dict[str, Any]:
        work = super()._work()
        if self._verb == "rollback":
            return work
        cluster = ClusterWork(
            self._task.args["bundle"], self._spec, self._inputs(), self._nodes(), self._host
        )
        kept = self._vars["hostvars"][cluster.first.host].get(str(self._task.args.get("admission"))) or {}
        work["join"] = {
            "config": cluster.join_config(kept.get("admission") or {}),
            "seconds": work["join"]["seconds"] or self._timeout(),
        }
        return work
