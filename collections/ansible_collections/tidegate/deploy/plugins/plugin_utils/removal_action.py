# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's half of taking nodes out of a cluster: its first control plane is asked, and no other host."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError
from ansible_collections.tidegate.deploy.plugins.plugin_utils import cluster_nodes
from ansible_collections.tidegate.deploy.plugins.plugin_utils.environment_action import EnvironmentAction

# kubectl's own end, which says more, comes before the step's.
GRACE_SECONDS = 60


def told(
    spec: dict[str, Any],
    variables: dict[str, Any],
    nodes: list[dict[str, Any]],
    leaving: list[str],
    host: str,
) -> dict[str, Any]:
    """What a host is told of a removal: the `names` of the nodes that leave, and what this `host` is to it."""
    known = cluster_nodes.of(nodes)
    first = cluster_nodes.first(known)
    is_what = "leaves" if host in leaving else "first_control_plane" if host == first.host else "stays"
    return {
        "names": [one.name for one in known if one.host in leaving],
        "host": is_what,
        "role": next((one.role for one in known if one.host == host), ""),
        "is_lost": boolean(spec.get("lost") or variables.get("environment_nodes_lost") or False),
    }


class RemovalAction(EnvironmentAction):
    """See `EnvironmentAction`."""

    RUNTIMES = ("k8s",)

    def _is_meant(self) -> bool:
        if not self._leaving():
            raise ReleaseError(
                "validation_error",
                "no node is to leave",
                "Name nodes in `remove` of the document, or in the variable environment_remove_nodes.",
            )
        return self._spec.get("runtime_type") == "k8s" and "first_control_plane" in self._roles()

    def _work(self) -> dict[str, Any]:
        removal = told(self._spec, self._vars, self._nodes(), self._leaving(), self._host)
        return {"removal": {**removal, "seconds": self._inputs()["drain_seconds"]}}

    def _timeout(self) -> int:
        return int(self._inputs()["drain_seconds"]) + GRACE_SECONDS
