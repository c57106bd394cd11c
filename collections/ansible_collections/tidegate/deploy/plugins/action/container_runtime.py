# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's half of `container_runtime`: units and settings out of the bundle's templates."""

from __future__ import annotations

from typing import Any

from ansible_collections.tidegate.deploy.plugins.plugin_utils import bundle_template
from ansible_collections.tidegate.deploy.plugins.plugin_utils.environment_action import EnvironmentAction

FILES = {
    "/etc/containerd/config.toml": "templates/compose/config.toml.j2",
    "/etc/docker/daemon.json": "templates/compose/daemon.json.j2",
}
UNITS = {
    "containerd.service": "templates/compose/containerd.service.j2",
    "docker.service": "templates/compose/docker.service.j2",
}


class ActionModule(EnvironmentAction):
    STEP = "container_runtime"

    def _work(self) -> dict[str, Any]:
        if self._verb == "rollback":
            return {}
        bundle, inputs = self._task.args["bundle"], self._inputs()
        values = {**inputs, "container_runtime_bin": "/usr/local/bin"}
        return {
            "artifacts": self._task.args["artifacts"],
            "inputs": inputs,
            "files": {path: bundle_template.render(bundle, name, values) for path, name in FILES.items()},
            "units": {unit: bundle_template.render(bundle, name, values) for unit, name in UNITS.items()},
        }
