# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's half of `network_entry_activate`."""

from __future__ import annotations

from typing import Any

from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError
from ansible_collections.tidegate.deploy.plugins.plugin_utils import entry_bundle
from ansible_collections.tidegate.deploy.plugins.plugin_utils.entry_action import EntryAction


class ActionModule(EntryAction):
    VERB = "apply"

    def _work(self) -> dict[str, Any]:
        self._refuse_stranding()
        if not self._has_part():
            return self._done(False)
        found = entry_bundle.artifacts(self._spec, self._entry)
        told = {name: {key: one[key] for key in ("sha256", "type")} for name, one in found.items()}
        answer = self._tried(lambda: self._ask("network_entry_activate", self._payload(artifacts=told)))
        return self._done(bool(answer["changed"]))

    def _refuse_stranding(self) -> None:
        """A node that is led to a VIP which goes, and cannot be told so, would not find its control plane again."""
        prepared = {
            host: dict(self._vars["hostvars"].get(host, {}).get("network_entry_prepared") or {})
            for host in self._vars["ansible_play_hosts_all"]
        }
        unreached = sorted(host for host, one in prepared.items() if one.get("not_led"))
        going = next((one["leaves_vip"] for one in prepared.values() if one.get("leaves_vip")), None)
        if unreached and going:
            raise ReleaseError(
                "ssh_unreachable",
                f"{', '.join(unreached)} cannot be reached, and may be led to {going}, which goes",
                "See that it answers, or let it leave the cluster as lost; then preview again.",
            )
