# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""`k8s_preview`: runs on the controller."""

from __future__ import annotations

from ansible_collections.tidegate.deploy.plugins.plugin_utils.cluster_action import ClusterAction


class ActionModule(ClusterAction):
    VERB = "preview"
