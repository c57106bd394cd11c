#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Take a host back to its network entry before."""

from __future__ import annotations

DOCUMENTATION = r"""
module: network_entry_rollback
short_description: Take a host back to its network entry before
version_added: "0.2.0"
description:
  - Restores the generation before the last apply, or removes the entry with all that belongs to it.
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
  remove:
    description: Remove the entry even where there is a generation to go back to.
    type: bool
    default: false
  steps:
    description: Steps that tasks before this one took for the same result.
    type: list
    elements: dict
    default: []
attributes:
  check_mode:
    description: Says that it would change something, and does nothing.
    support: full
author:
  - Tidegate contributors (@tidegate)
"""

EXAMPLES = r"""
- name: Take a host back to its network entry before
  tidegate.deploy.network_entry_rollback:
    network_entry_spec_file: /srv/entries/east.json
"""

RETURN = r"""
tidegate:
  description: The result for the timeline; see the collection's README for its shapes.
  returned: always
  type: dict
"""

from ansible_collections.tidegate.deploy.plugins.module_utils.network_entry import host_call, work


def main() -> None:
    own = {
        "remove": {"type": "bool", "default": False},
        "steps": {"type": "list", "elements": "dict", "default": []},
    }
    host_call.answer(work.roll_back, own)


if __name__ == "__main__":
    main()
