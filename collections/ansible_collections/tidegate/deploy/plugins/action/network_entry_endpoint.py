# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's half of `network_entry_endpoint`."""

from __future__ import annotations

import time
from typing import Any

from ansible_collections.tidegate.deploy.plugins.module_utils.host import step_record
from ansible_collections.tidegate.deploy.plugins.module_utils.network_entry import endpoint
from ansible_collections.tidegate.deploy.plugins.plugin_utils import entry_preview
from ansible_collections.tidegate.deploy.plugins.plugin_utils.entry_action import EntryAction


class ActionModule(EntryAction):
    VERB = "endpoint"

    def _work(self) -> dict[str, Any]:
        mode = str(self._task.args.get("mode", "vip"))
        self.GOES_ON_WITHOUT, self._started = mode == "vip", time.time()
        if mode == "direct":
            # What a rollback begins with: it is held to its preview here, before anything is changed.
            self.VERB = "rollback"
            self._compare()
        floor = max(self._entry.floor_seconds(one.host) for one in self._entry.directors)
        payload = self._payload(
            mode=mode, direct=self._direct(), restores=self._spec.get("restores"), timeout=floor * 2 + 30
        )
        return self._done(bool(self._tried(lambda: self._ask("network_entry_endpoint", payload))["changed"]))

    def _not_led(self, said: str) -> dict[str, Any]:
        hint = "It works on without the VIP; apply the entry again when it answers: nothing else is changed."
        message = f"{self._host} cannot be reached, and is not led to {self._entry.address}: {said}"
        told = {"error_key": "ssh_unreachable", "remediation": hint}
        failed = step_record.step(endpoint.STEP, "failed", self._started, message, **told)
        self._steps.append({**failed, "attempt": self._attempt})
        answer = super()._not_led(said)
        self._keep(self._host, answer["tidegate"])
        return {**answer, "warnings": [f"{message}. {hint}"]}

    def _compare(self) -> None:
        """See that the host is as it was previewed; one on which there is nothing any more was taken back already."""
        if not (self._spec.get("expect") or {}).get("compare_fingerprint"):
            return
        key = self._veil.key_of(self._host, self._entry.entry_id).hex()
        answer = self._ask("network_entry_preview", self._payload(veil_key=key))
        if answer["entry"]["installed"]:
            found = entry_preview.document(self._host, answer, {})
            entry_preview.compare_fingerprint(self._spec, self._host, found, answer["is_own_work"])
