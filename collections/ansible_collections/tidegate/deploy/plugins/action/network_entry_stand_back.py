# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's half of `network_entry_stand_back`."""

from __future__ import annotations

from typing import Any

from ansible_collections.tidegate.deploy.plugins.plugin_utils.entry_action import EntryAction


class ActionModule(EntryAction):
    VERB = "stand_back"

    def _work(self) -> dict[str, Any]:
        floor = max(self._entry.floor_seconds(one.host) for one in self._entry.directors)
        answer = self._ask("network_entry_stand_back", self._payload(delay=2, seconds=floor + 16))
        return self._done(bool(answer["changed"]))
