# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's half of `node_drain`."""

from __future__ import annotations

from ansible_collections.tidegate.deploy.plugins.plugin_utils.removal_action import RemovalAction


class ActionModule(RemovalAction):
    STEP = "node_drain"
