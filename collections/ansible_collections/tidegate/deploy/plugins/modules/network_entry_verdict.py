#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Judge a network entry as a whole."""

from __future__ import annotations

DOCUMENTATION = r"""
module: network_entry_verdict
short_description: Judge a network entry as a whole
version_added: "0.2.0"
description:
  - Takes what all hosts of the play and the probe said and tells whether the entry is as it should be.
    Works on the controller.
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
  about:
    description: What is judged; a fault fails the task, except in a check.
    type: str
    choices: [apply, check, failover]
    default: check
attributes:
  check_mode:
    description: Changes nothing in any mode.
    support: full
author:
  - Tidegate contributors (@tidegate)
"""

EXAMPLES = r"""
- name: Judge a network entry as a whole
  tidegate.deploy.network_entry_verdict:
    network_entry_spec_file: /srv/entries/east.json
"""

RETURN = r"""
tidegate:
  description: The result for the timeline; see the collection's README for its shapes.
  returned: always
  type: dict
"""

from ansible_collections.tidegate.deploy.plugins.module_utils.network_entry import host_call


def main() -> None:
    host_call.answer(
        lambda _payload, _steps: {"changed": False},
        {"about": {"type": "str", "choices": ["apply", "check", "failover"], "default": "check"}},
    )


if __name__ == "__main__":
    main()
