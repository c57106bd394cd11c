#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Let a director stand back for a while."""

from __future__ import annotations

DOCUMENTATION = r"""
module: network_entry_stand_back
short_description: Let a director stand back for a while
version_added: "0.2.0"
description:
  - Stops VRRP in two seconds and starts it again later, by timers of the host itself, so that it
    returns whatever becomes of the caller.
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
    description: Says that it would change something, and does nothing.
    support: full
author:
  - Tidegate contributors (@tidegate)
"""

EXAMPLES = r"""
- name: Let a director stand back for a while
  tidegate.deploy.network_entry_stand_back:
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
    host_call.answer(watch.stand_back)


if __name__ == "__main__":
    main()
