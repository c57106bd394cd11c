# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's half of `network_entry_probe`: it runs where the task is delegated to."""

from __future__ import annotations

from typing import Any

from ansible_collections.tidegate.deploy.plugins.plugin_utils.entry_action import EntryAction


class ActionModule(EntryAction):
    VERB = "outside"

    def _work(self) -> dict[str, Any]:
        entry, mode = self._entry, str(self._task.args.get("mode", "verify"))
        floor = max(entry.floor_seconds(one.host) for one in entry.directors)
        payload = {
            "address": entry.address,
            "port": entry.health_check_port,
            "health_check": {"kind": entry.health_check.kind, "path": entry.health_check.path},
            "backends": [one.address for one in entry.backends],
            "once": mode == "check",
            "watch": floor + 8 if mode == "failover" else 0,
            "timeout": floor + 20,
            "certificates": mode == "verify" and entry.certificate_check in ("required", "renewed"),
            "connections": 4 * sum(one.weight for one in entry.backends),
        }
        ask = lambda: self._ask("network_entry_probe", payload)  # noqa: E731
        answer = self._tried(ask) if mode == "verify" else ask()
        names = ("outage", "vip_fault", "backend_faults")
        found = {name: answer[name] for name in names if name in answer}
        return {"changed": False, "outside": found, "tidegate_steps": self._steps}
