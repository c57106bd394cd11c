# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's half of `network_entry_rollback`."""

from __future__ import annotations

from typing import Any

from ansible_collections.tidegate.deploy.plugins.plugin_utils.entry_action import EntryAction


class ActionModule(EntryAction):
    VERB = "rollback"

    def _work(self) -> dict[str, Any]:
        payload = self._payload(remove=bool(self._task.args.get("remove")), undo=self._spec.get("undo"))
        answer = self._tried(lambda: self._ask("network_entry_rollback", payload))
        return self._done(bool(answer["changed"]), live={"removed": answer["removed"]})
