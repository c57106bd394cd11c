# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""A canary's pause, on the controller: hosts have nothing to do meanwhile."""

from __future__ import annotations

import time
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.tidegate.deploy.plugins.module_utils.host import step_record


class ActionModule(ActionBase):
    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        started = time.time()
        seconds = self._task.args.get("seconds")
        is_paused = seconds in (None, "")
        if not is_paused and not self._task.check_mode:
            time.sleep(int(seconds))
        step = step_record.step(
            "canary_pause", "succeeded", started, seconds=None if is_paused else int(seconds)
        )
        host = (task_vars or {}).get("inventory_hostname", "")
        return {"changed": False, "tidegate": step_record.done(host, False, [step], paused=is_paused)}
