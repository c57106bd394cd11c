#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Preview a network entry on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: network_entry_preview
short_description: Preview a network entry on a host
version_added: "0.2.0"
description:
  - Finds what would go wrong and renders keepalived.conf, with the password shown as an HMAC. Changes
    nothing.
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
attributes:
  check_mode:
    description: Changes nothing in any mode.
    support: full
author:
  - Tidegate contributors (@tidegate)
"""

EXAMPLES = r"""
- name: Preview a network entry on a host
  tidegate.deploy.network_entry_preview:
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
    host_call.answer(work.preview)


if __name__ == "__main__":
    main()
