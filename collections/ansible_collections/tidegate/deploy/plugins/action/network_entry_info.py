# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's half of `network_entry_info`."""

from __future__ import annotations

from typing import Any

from ansible_collections.tidegate.deploy.plugins.module_utils.network_entry import watch
from ansible_collections.tidegate.deploy.plugins.plugin_utils.entry_action import EntryAction

# Seconds: keepalived's garp_master_delay, and a little.
_ANNOUNCED_AGAIN = 5.5


class ActionModule(EntryAction):
    VERB = "status"

    def _work(self) -> dict[str, Any]:
        if not self._has_part() and self._host not in (self._spec.get("not_led") or []):
            return {"changed": False, "live": dict(watch.NO_PART)}
        last = max(self._entry.floor_seconds(one.host) for one in self._entry.directors)
        settle = bool(self._task.args.get("settle"))
        check = self._entry.health_check
        balanced = len(self._entry.backends) if settle and self._entry.balancer == "ipvs" else 0
        payload = self._payload(
            backends=balanced,
            # Two rounds of checks: one that is dead is not waited for longer.
            table_seconds=last + 2 * (check.interval + check.timeout) if balanced else 0,
            settle_seconds=self._entry.advert_interval * 1.5 + 0.3 if settle else 0,
            wait_vrrp=settle,
            # Who has just started listens that long before it takes the VIP back; and a neighbour that did not take in
            # the first announcement of it, because another director's came just before, hears the second.
            election_seconds=last + 0.5 + _ANNOUNCED_AGAIN,
            timeout=last * 2 + 30,
        )
        return {"changed": False, "live": self._ask("network_entry_info", payload)["live"]}
