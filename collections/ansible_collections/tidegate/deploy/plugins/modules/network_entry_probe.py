#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ask a network entry from outside."""

from __future__ import annotations

DOCUMENTATION = r"""
module: network_entry_probe
short_description: Ask a network entry from outside
version_added: "0.2.0"
description:
  - Connects to the VIP from the machine that the task is delegated to. Changes nothing.
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
    description: Ask until it answers and then often, ask once, or watch for the time of a failover.
    type: str
    choices: [verify, check, failover]
    default: verify
attributes:
  check_mode:
    description: Changes nothing in any mode.
    support: full
author:
  - Tidegate contributors (@tidegate)
"""

EXAMPLES = r"""
- name: Ask a network entry from outside
  tidegate.deploy.network_entry_probe:
    network_entry_spec_file: /srv/entries/east.json
"""

RETURN = r"""
tidegate:
  description: The result for the timeline; see the collection's README for its shapes.
  returned: always
  type: dict
"""

from ansible_collections.tidegate.deploy.plugins.module_utils.network_entry import host_call, outside


def main() -> None:
    host_call.answer(
        outside.probe,
        {"mode": {"type": "str", "choices": ["verify", "check", "failover"], "default": "verify"}},
    )


if __name__ == "__main__":
    main()
