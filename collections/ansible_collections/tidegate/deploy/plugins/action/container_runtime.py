# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's half of `container_runtime`: units and settings out of the bundle's templates."""

from __future__ import annotations

from typing import Any

from ansible_collections.tidegate.deploy.plugins.plugin_utils import runtime_files
from ansible_collections.tidegate.deploy.plugins.plugin_utils.environment_action import EnvironmentAction


class ActionModule(EnvironmentAction):
    STEP = "container_runtime"

    def _work(self) -> dict[str, Any]:
        if self._verb == "rollback":
            return {}
        inputs = self._inputs()
        rendered = runtime_files.of(self._task.args["bundle"], inputs)
        return {**rendered, "artifacts": self._task.args["artifacts"], "inputs": inputs}
