#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host's entry to a project, as an nftables rule set."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_entry
short_description: Decide on a host which backend new connections to a port go to
version_added: "0.1.0"
description:
  - Keeps one nftables table of the project's own, C(tidegate_PROJECT), that sends new connections to a
    port of the
    host to backends on other ports of it, by weight. The rule set is replaced in one transaction;
    connections that
    exist stay where they are.
  - A systemd unit loads the rule set again when the host starts.
  - From outside, the backends' own ports answer nobody.
options:
  project:
    description: The Compose project that the entry is for.
    type: str
    required: true
  state:
    description: Whether the entry is to be there.
    type: str
    choices: [present, absent]
    default: present
  port:
    description: The port that clients use.
    type: int
  live:
    description: The backend that has the traffic, or will have all of it when an undecided canary is taken
      back.
    type: str
  backends:
    description: Where connections go. Their weights add up to 100.
    type: list
    elements: dict
    suboptions:
      name:
        description: C(blue), C(green), or C(plain) for what is published on the port itself.
        type: str
        required: true
      port:
        description: The port of the host on which the backend listens.
        type: int
        required: true
      weight:
        description: Percent of the new connections.
        type: int
        required: true
  contents:
    description: For each colour the digest of what it runs, remembered for the next release.
    type: dict
    default: {}
attributes:
  check_mode:
    description: Says what would be changed.
    support: full
  diff_mode:
    description: Shows both rule sets.
    support: full
author:
  - Tidegate contributors (@tidegate)
"""

EXAMPLES = r"""
- name: All new connections to port 8080 go to green
  tidegate.deploy.host_entry:
    project: shop
    port: 8080
    live: green
    backends:
      - {name: green, port: 30011, weight: 100}

- name: The entry is gone; what Docker publishes on the port answers again
  tidegate.deploy.host_entry:
    project: shop
    state: absent
"""

RETURN = r"""
tidegate:
  description: The step C(switch) with the weights before and after.
  returned: always
  type: dict
"""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tidegate.deploy.plugins.module_utils.host import (
    colours,
    entry,
    entry_table,
    state_folder,
    step_record,
)

_BACKEND = {
    "name": {"type": "str", "required": True},
    "port": {"type": "int", "required": True},
    "weight": {"type": "int", "required": True},
}
ARGUMENTS = {
    "project": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "port": {"type": "int"},
    "live": {"type": "str"},
    "backends": {"type": "list", "elements": "dict", "options": _BACKEND},
    "contents": {"type": "dict", "default": {}},
}


def main() -> None:
    module = AnsibleModule(
        ARGUMENTS,
        required_if=[("state", "present", ["port", "live", "backends"])],
        supports_check_mode=True,
    )
    params, started = module.params, time.time()
    try:
        wanted = None
        if params["state"] == "present":
            wanted = entry.parse(params["project"], params["port"], params["backends"])
        table = entry_table.EntryTable(params["project"], state_folder.path("entries"))
        change = table.change(wanted, params["live"], params["contents"])
        if not module.check_mode:
            table.apply(change)
    except (entry.EntryError, entry_table.EntryTableError, colours.EntryStateError) as error:
        key = "validation_error" if isinstance(error, entry.EntryError) else "preflight_failed"
        failed = step_record.step("switch", "failed", started, str(error))
        said = step_record.failure("", key, str(error), getattr(error, "hint", ""), [failed])
        module.fail_json(msg=str(error), tidegate=said)
    status = "succeeded" if change.needed else "unchanged"
    took = step_record.step(
        "switch", status, started, before=change.weights_before, after=change.weights_after
    )
    module.exit_json(
        changed=change.needed,
        tidegate=step_record.done("", change.needed, [took]),
        diff={"before": change.rules_before, "after": change.rules_after},
    )


if __name__ == "__main__":
    main()
