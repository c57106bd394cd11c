# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's half of `network_entry_certificate`."""

from __future__ import annotations

from typing import Any

from ansible_collections.tidegate.deploy.plugins.plugin_utils import entry_certificate
from ansible_collections.tidegate.deploy.plugins.plugin_utils.entry_action import EntryAction


class ActionModule(EntryAction):
    VERB = "certificate"

    def _work(self) -> dict[str, Any]:
        entry = self._entry
        own = next(one for one in entry.nodes if one.host == self._host)
        asked = {"vip": entry.address, "address": own.address, "port": entry.health_check_port}
        reading = self._payload(mode="read", **asked)
        found = self._tried(lambda: self._ask("network_entry_certificate", reading))
        # kubeadm calls its nodes in small letters.
        node = str(self._vars.get("tidegate_node_name") or self._host).lower()
        text, folder = entry_certificate.with_vip(
            found["configuration"], entry.address, node, own.address, entry.health_check_port
        )
        among = list(self._task.args.get("among") or self._vars["ansible_play_hosts_all"])
        upload = entry_certificate.is_last(self._host, among) and not entry_certificate.names_vip(
            found["configuration"], entry.address
        )
        payload = self._payload(
            mode="renew",
            configuration=text,
            folder=folder,
            upload=upload,
            names_vip=found["names_vip"],
            **asked,
        )
        answer = self._tried(lambda: self._ask("network_entry_certificate", payload))
        return self._done(bool(answer["changed"]))
