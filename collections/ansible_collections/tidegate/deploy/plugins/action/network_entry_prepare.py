# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's half of `network_entry_prepare`: compare with the preview, deliver, install, configure."""

from __future__ import annotations

import time
from typing import Any

from ansible_collections.tidegate.deploy.plugins.module_utils.host import step_record
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError
from ansible_collections.tidegate.deploy.plugins.plugin_utils import entry_bundle, entry_preview
from ansible_collections.tidegate.deploy.plugins.plugin_utils.entry_action import EntryAction


class ActionModule(EntryAction):
    VERB = "apply"
    GOES_ON_WITHOUT = True

    def _work(self) -> dict[str, Any]:
        if self._host in ((self._spec.get("expect") or {}).get("unreached") or []):
            # It could not be previewed: only led to the VIP, at the end, should it answer by then.
            return self._not_led("it could not be previewed")
        self._artifacts = entry_bundle.artifacts(self._spec, self._entry)
        seen = self._compare()
        done = self._done(bool(self._tried(self._prepare)["changed"]))
        renews = bool(seen["certificate"] and seen["certificate"]["renewable"])
        return {**done, "renews_certificate": renews, "leaves_vip": seen["leaves_vip"]}

    def _not_led(self, said: str) -> dict[str, Any]:
        return {**super()._not_led(said), "renews_certificate": False, "leaves_vip": None}

    def _compare(self) -> Any:
        """Hold the host to its preview; what its entry would be is answered."""
        started = time.time()
        key = self._veil.key_of(self._host, self._entry.entry_id).hex()
        answer = self._ask("network_entry_preview", self._payload(veil_key=key))
        found = entry_preview.document(self._host, answer, self._artifacts)
        try:
            entry_preview.compare(self._spec, self._host, found, answer["is_own_work"])
        except ReleaseError as error:
            told = {"error_key": error.error_key, "remediation": error.hint}
            failed = step_record.step("preflight", "failed", started, str(error), **told)
            self._steps.append({**failed, "attempt": 1})
            raise
        self._steps.append({**step_record.step("preflight", "unchanged", started), "attempt": 1})
        return answer["entry"]

    def _prepare(self) -> dict[str, Any]:
        told = {name: {key: one[key] for key in ("sha256", "type")} for name, one in self._artifacts.items()}
        answer = self._ask("network_entry_prepare", self._payload(artifacts=told))
        if answer["missing"]:
            arrived = self._deliver(answer["missing"])
            answer = self._ask("network_entry_prepare", self._payload(artifacts=told, arrived=arrived))
        return answer

    def _deliver(self, missing: list[str]) -> dict[str, str]:
        """Send what the host lacks over the connection there is; the host checks it again."""
        # A folder that was there for the module is gone with it.
        folder = self._make_tmp_path()
        arrived = {}
        for one in self._artifacts.values():
            if one["sha256"] in missing:
                goal = self._connection._shell.join_path(folder, one["sha256"])
                arrived[one["sha256"]] = self._transfer_file(one["file"], goal)
        return arrived

    def cleanup(self, force: bool = False) -> None:
        folder = self._connection._shell.tmpdir
        super().cleanup(force)
        if folder and self._task.async_val == 0:
            self._connection._shell.tmpdir = None
