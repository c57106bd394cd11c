#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Have pods of a cluster reach each other."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_network
short_description: Have pods of a cluster reach each other
version_added: "0.2.0"
description:
  - Writes the node's CNI configuration, a bridge with the addresses that the cluster gave the node, and routes to the
    pods of the other nodes, which share its network segment.
  - Does nothing on a host that the bundle's index does not mean it for.
  - What is made is written down on the host before it is made; C(verb=rollback) takes away that and no more.
options:
  environment_spec_file:
    description: Path on the controller of an environment spec, a JSON document. Read as data, never as a template.
    type: path
  bundle:
    description: What M(tidegate.deploy.bundle_verify) returned as C(bundle).
    type: dict
  artifacts:
    description: What M(tidegate.deploy.bundle_delivery) returned as C(artifacts).
    type: dict
  verb:
    description: Whether to install, or to take away what was installed.
    type: str
    choices: [apply, rollback]
    default: apply
  steps:
    description: Steps that tasks before this one took for the same result.
    type: list
    elements: dict
    default: []
  nodes:
    description: Variable in which the first control plane's M(tidegate.deploy.cluster_admin) was registered.
    type: str
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
- name: Pods reach each other
  tidegate.deploy.cluster_network:
    bundle: "{{ bundle_delivery_verified.bundle }}"
    artifacts: "{{ bundle_delivery_done.artifacts }}"
    nodes: cluster_network_nodes
"""

RETURN = r"""
tidegate:
  description: The step C(cluster_network); its C(detail) tells what changed, or what was undone and what was left.
  returned: always
  type: dict
"""

from ansible_collections.tidegate.deploy.plugins.module_utils.environment import cluster_network, host_call


def main() -> None:
    host_call.answer(cluster_network.apply, cluster_network.rollback)


if __name__ == "__main__":
    main()
