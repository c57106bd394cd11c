#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Move pods off nodes that leave a cluster."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_drain
short_description: Move pods off nodes that leave a cluster
version_added: "0.2.0"
description:
  - Has the cluster's first control plane cordon the nodes that C(remove) of the environment spec names, or the
    variable C(environment_remove_nodes), and evict their pods. Disruption budgets are honoured; the input
    C(drain_seconds) says for how long they are waited for.
  - Pods of daemon sets stay. Pods without a controller, and data in an C(emptyDir), are gone for good.
  - Does nothing on other hosts.
options:
  environment_spec_file:
    description: Path on the controller of an environment spec, a JSON document. Read as data, never as a template.
    type: path
  bundle:
    description: What M(tidegate.deploy.bundle_verify) returned as C(bundle).
    type: dict
  steps:
    description: Steps that tasks before this one took for the same result.
    type: list
    elements: dict
    default: []
  payload:
    description: What the host is told. Set by the action plugin.
    type: str
    required: true
attributes:
  check_mode:
    description: Says what would change, and changes nothing.
    support: full
author:
  - Tidegate contributors (@tidegate)
"""

EXAMPLES = r"""
- name: Their pods are elsewhere
  tidegate.deploy.node_drain:
    bundle: "{{ bundle_delivery_verified.bundle }}"
"""

RETURN = r"""
tidegate:
  description: The step C(node_drain); where it fails, its C(detail) names the pods that stay and what holds them.
  returned: always
  type: dict
"""

from ansible_collections.tidegate.deploy.plugins.module_utils.environment import host_call, node_removal


def main() -> None:
    host_call.answer(node_removal.drain)


if __name__ == "__main__":
    main()
