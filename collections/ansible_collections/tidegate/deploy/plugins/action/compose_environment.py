# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's half of `compose_environment`."""

from __future__ import annotations

from typing import Any

from ansible_collections.tidegate.deploy.plugins.plugin_utils.environment_action import EnvironmentAction


class ActionModule(EnvironmentAction):
    STEP = "compose_environment"
    # The first that is undone, the last that is done.
    LAST = True

    def _work(self) -> dict[str, Any]:
        return {"artifacts": self._task.args.get("artifacts") or {}}
