# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""`bundle_verify`: all of it happens on the controller."""

from __future__ import annotations

import time
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible_collections.tidegate.deploy.plugins.module_utils.host import step_record
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError
from ansible_collections.tidegate.deploy.plugins.plugin_utils import bundle_source


class ActionModule(ActionBase):
    """Runs on the controller only."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        host = str((task_vars or {}).get("inventory_hostname", ""))
        started = time.time()
        try:
            asked = bundle_source.wanted(self._task.args, task_vars or {})
            later = boolean(self._task.args.get("large_later", False))
            found = bundle_source.verified(asked, large_later=later)
        except ReleaseError as error:
            failed = step_record.step("bundle_verify", "failed", started, str(error), **error.detail)
            told = step_record.failure(host, error.error_key, str(error), error.hint, [failed])
            return {"failed": True, "msg": str(error), "tidegate": told}
        step = step_record.step(
            "bundle_verify", "unchanged", started, digest=found["digest"], files=len(found["files"]),
            signed_by=found["signed_by"], runtime=found["runtime"],
        )  # fmt: skip
        return {"changed": False, "bundle": found, "tidegate": step_record.done(host, False, [step])}
