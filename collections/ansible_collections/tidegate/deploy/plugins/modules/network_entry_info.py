#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tell what a host does in a network entry."""

from __future__ import annotations

DOCUMENTATION = r"""
module: network_entry_info
short_description: Tell what a host does in a network entry
version_added: "0.2.0"
description:
  - Whether it holds the VIP, balances, and is set up as a real server. Changes nothing.
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
  settle:
    description: Wait until the host's part has been the same for longer than an advert takes.
    type: bool
    default: false
attributes:
  check_mode:
    description: Changes nothing in any mode.
    support: full
author:
  - Tidegate contributors (@tidegate)
"""

EXAMPLES = r"""
- name: Tell what a host does in a network entry
  tidegate.deploy.network_entry_info:
    network_entry_spec_file: /srv/entries/east.json
"""

RETURN = r"""
tidegate:
  description: The result for the timeline; see the collection's README for its shapes.
  returned: always
  type: dict
"""

from ansible_collections.tidegate.deploy.plugins.module_utils.network_entry import host_call, watch


def main() -> None:
    host_call.answer(watch.inspect, {"settle": {"type": "bool", "default": False}})


if __name__ == "__main__":
    main()
