#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Let a node find its control plane at the VIP."""

from __future__ import annotations

DOCUMENTATION = r"""
module: network_entry_endpoint
short_description: Let a node find its control plane at the VIP
version_added: "0.2.0"
description:
  - Moves the control plane's name in C(/etc/hosts) to the VIP, after the cluster's API server has answered there
    with a certificate that the cluster's own authority vouches for; or back.
  - Only a line that an install wrote is moved, and only where the VIP serves the port that the kubelet asks at.
    Other hosts stay as they are.
options:
  network_entry_spec_file:
    description: Path on the controller of a network entry spec, a JSON document. Read as data, never as a template.
    type: path
  network_entry_spec:
    description: The spec by hand; the variable C(network_entry_spec) of the play when neither is given.
    type: raw
  payload:
    description: What the host is told. Set by the action plugin.
    type: str
  mode:
    description:
      - C(vip) leads to the VIP, C(direct) to where the name led before there was one, C(restored) to the VIP of the
        entry that a rollback went back to, where there is one.
    type: str
    choices: [vip, direct, restored]
    default: vip
attributes:
  check_mode:
    description: Tells whether the name would be moved.
    support: full
author:
  - Tidegate contributors (@tidegate)
"""

EXAMPLES = r"""
- name: Let a node find its control plane at the VIP
  tidegate.deploy.network_entry_endpoint:
    network_entry_spec_file: /srv/entries/east.json
"""

RETURN = r"""
tidegate:
  description: The result for the timeline; see the collection's README for its shapes.
  returned: always
  type: dict
"""

from ansible_collections.tidegate.deploy.plugins.module_utils.network_entry import endpoint, host_call

MODES = {"type": "str", "choices": ["vip", "direct", "restored"], "default": "vip"}


def main() -> None:
    host_call.answer(endpoint.lead, {"mode": MODES})


if __name__ == "__main__":
    main()
