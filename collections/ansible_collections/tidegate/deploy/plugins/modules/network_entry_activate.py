#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run a network entry on a host as it was prepared."""

from __future__ import annotations

DOCUMENTATION = r"""
module: network_entry_activate
short_description: Run a network entry on a host as it was prepared
version_added: "0.2.0"
description:
  - Puts the configuration in place of the old one, which is kept beside it, and starts what it needs.
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
- name: Run a network entry on a host as it was prepared
  tidegate.deploy.network_entry_activate:
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
    host_call.answer(work.activate, {"steps": {"type": "list", "elements": "dict", "default": []}})


if __name__ == "__main__":
    main()
