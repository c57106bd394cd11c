# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's half of `network_entry_preview`."""

from __future__ import annotations

from typing import Any

from ansible_collections.tidegate.deploy.plugins.plugin_utils import entry_bundle, entry_preview
from ansible_collections.tidegate.deploy.plugins.plugin_utils.entry_action import EntryAction


class ActionModule(EntryAction):
    VERB = "preview"
    GOES_ON_WITHOUT = True

    def _work(self) -> dict[str, Any]:
        # What takes an entry back needs no program of a bundle, which may be gone.
        artifacts = (
            {} if self._spec.get("for_rollback")
            else entry_bundle.artifacts(self._spec, self._entry)
        )  # fmt: skip
        key = self._veil.key_of(self._host, self._entry.entry_id).hex()
        answer = self._ask("network_entry_preview", self._payload(veil_key=key))
        result = entry_preview.document(self._host, answer, artifacts)
        self._keep(self._host, result)
        diff = [{"before": one["before"], "after": one["after"], "before_header": one["path"],
                 "after_header": one["path"]} for one in result["files"]]  # fmt: skip
        return {"changed": False, "tidegate": result, "diff": diff}

    def _not_led(self, said: str) -> dict[str, Any]:
        result = entry_preview.without(self._host, said)
        self._keep(self._host, result)
        return {
            "changed": False,
            "tidegate": result,
            "warnings": [one["message"] for one in result["checks"]],
        }
