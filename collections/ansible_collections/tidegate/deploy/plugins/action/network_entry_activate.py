# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's half of `network_entry_activate`."""

from __future__ import annotations

from typing import Any

from ansible_collections.tidegate.deploy.plugins.plugin_utils import entry_bundle
from ansible_collections.tidegate.deploy.plugins.plugin_utils.entry_action import EntryAction


class ActionModule(EntryAction):
    VERB = "apply"

    def _work(self) -> dict[str, Any]:
        found = entry_bundle.artifacts(self._spec, self._entry)
        told = {name: {key: one[key] for key in ("sha256", "type")} for name, one in found.items()}
        answer = self._tried(lambda: self._ask("network_entry_activate", self._payload(artifacts=told)))
        return self._done(bool(answer["changed"]))
