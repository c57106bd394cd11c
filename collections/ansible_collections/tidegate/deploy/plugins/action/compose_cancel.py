# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The controller's half of `compose_cancel`."""

from __future__ import annotations

from ansible_collections.tidegate.deploy.plugins.plugin_utils.release_action import ReleaseAction


class ActionModule(ReleaseAction):
    MODULE = "compose_cancel"
    VERB = "cancel"
