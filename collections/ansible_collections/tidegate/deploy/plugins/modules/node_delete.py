#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Have a cluster forget nodes that left it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_delete
short_description: Have a cluster forget nodes that left it
version_added: "0.2.0"
description:
  - Has the cluster's first control plane delete the nodes that M(tidegate.deploy.node_drain) drained, and take those
    that are lost out of etcd, where a majority of its members is well then.
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
- name: The cluster knows them no more
  tidegate.deploy.node_delete:
    bundle: "{{ bundle_delivery_verified.bundle }}"
"""

RETURN = r"""
tidegate:
  description: The step C(node_delete); its C(detail) tells what changed.
  returned: always
  type: dict
"""

from ansible_collections.tidegate.deploy.plugins.module_utils.environment import host_call, node_removal


def main() -> None:
    host_call.answer(node_removal.delete)


if __name__ == "__main__":
    main()
