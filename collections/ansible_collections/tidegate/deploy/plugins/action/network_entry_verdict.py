# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's whole work of `network_entry_verdict`: what all hosts said becomes one answer."""

from __future__ import annotations

import time
from typing import Any

from ansible_collections.tidegate.deploy.plugins.module_utils.host import step_record
from ansible_collections.tidegate.deploy.plugins.module_utils.network_entry import verdict
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError
from ansible_collections.tidegate.deploy.plugins.plugin_utils.entry_action import EntryAction


class ActionModule(EntryAction):
    VERB = "status"

    def _work(self) -> dict[str, Any]:
        started, about = time.time(), str(self._task.args.get("about", "check"))
        self.VERB = {"apply": "verify", "failover": "failover"}.get(about, "status")
        outside = self._said("network_entry_outside", self._host).get("outside")
        lives = self._lives("network_entry_seen")
        not_led = list(self._spec.get("not_led") or [])
        found = verdict.of_entry(self._entry, lives, outside, counted=about == "apply", not_led=not_led)
        more: dict[str, Any] = {}
        if about == "failover":
            more["failover"] = self._failover(found)
        fault = next((one for one in found["problems"] if one["level"] == "blocking"), None)
        if about == "check":
            fault = None
        self._tell_hosts(found, lives, started, fault, more)
        if fault:
            raise ReleaseError(fault["code"], fault["message"], fault["hint"], reason=fault["reason"])
        return {"changed": False, "tidegate": self._result(self._host, found, lives, started, None, more)}

    def _failover(self, after: dict[str, Any]) -> dict[str, Any]:
        before = [
            host for host, one in self._lives("network_entry_before").items() if one and one["holds_vip"]
        ]
        during = [
            host for host, one in self._lives("network_entry_during").items() if one and one["holds_vip"]
        ]
        outage = self._said("network_entry_watched", self._host)["outside"]["outage"]
        went_to = during[0] if len(during) == 1 else None
        if went_to is None or went_to in before or not outage["answers_again"]:
            raise ReleaseError(
                "vip_unreachable", f"the VIP did not go over: {', '.join(during) or 'nobody'} held it",
                "See the VRRP unit's journal on the directors.",
            )  # fmt: skip
        return {
            "from": before[0] if before else None,
            "to": went_to,
            "after": after["active_node"],
            "outage_ms": outage["outage_ms"],
            "connections": {"asked": outage["asked"], "lost": outage["lost"]},
            "floor_ms": int(self._entry.floor_seconds(went_to) * 1000),
        }

    def _tell_hosts(
        self, found: dict[str, Any], lives: verdict.Lives, started: float, fault: Any, more: dict[str, Any]
    ) -> None:
        for host in lives:
            self._keep(host, self._result(host, found, lives, started, fault, more))

    def _result(
        self, host: str, found: dict[str, Any], lives: verdict.Lives, started: float, fault: Any,
        more: dict[str, Any],
    ) -> dict[str, Any]:  # fmt: skip
        if self.VERB == "status":
            return {"schema": "tidegate.status/v1", "host": host, "entry": found, "live": lives[host]}
        said = fault["message"] if fault else ""
        status = "failed" if fault else "unchanged"
        step = {**step_record.step(self.VERB, status, started, said), "attempt": 1}
        # Of a node that the apply went on without, nothing was verified.
        steps = [] if self._said("network_entry_prepared", host).get("not_led") else [step]
        if fault:
            result = step_record.failure(host, fault["code"], said, fault["hint"], steps)
        else:
            result = step_record.done(host, False, steps)
        return {**result, "live": lives[host], "entry": found, **more}

    def _lives(self, name: str) -> dict[str, Any]:
        return {host: self._said(name, host).get("live") for host in self._vars["ansible_play_hosts_all"]}

    def _said(self, name: str, host: str) -> dict[str, Any]:
        return dict(self._vars["hostvars"].get(host, {}).get(name) or {})
