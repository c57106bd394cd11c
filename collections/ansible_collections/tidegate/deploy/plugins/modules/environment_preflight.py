#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an install would do on a host, and what stands in its way."""

from __future__ import annotations

DOCUMENTATION = r"""
module: environment_preflight
short_description: Tell what an install would do on a host, and what stands in its way
version_added: "0.2.0"
description:
  - Holds the checks of a bundle's index against a host, and tells of each step whether there is anything to do.
    Changes nothing on the host.
options:
  environment_spec_file:
    description: Path on the controller of an environment spec, a JSON document. Read as data, never as a template.
    type: path
  bundle:
    description: What M(tidegate.deploy.bundle_verify) returned as C(bundle).
    type: dict
  required:
    description: Fail where a check blocks, or the host is not as the spec's C(expect.fingerprints) has it.
    type: bool
    default: false
  payload:
    description: What the host is told. Set by the action plugin.
    type: str
    required: true
attributes:
  check_mode:
    description: Changes nothing in any mode.
    support: full
author:
  - Tidegate contributors (@tidegate)
"""

EXAMPLES = r"""
- name: What an install would do
  tidegate.deploy.environment_preflight:
    bundle: "{{ bundle_delivery_verified.bundle }}"
"""

RETURN = r"""
tidegate:
  description: C(facts) of the host, failed C(checks) (blocking ones or warnings), the C(plan), and a C(fingerprint).
  returned: success
  type: dict
"""

import json

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tidegate.deploy.plugins.module_utils.environment import preflight


def main() -> None:
    module = AnsibleModule(
        {
            "environment_spec_file": {"type": "path"},
            "bundle": {"type": "dict"},
            "required": {"type": "bool", "default": False},
            "payload": {"type": "str", "required": True, "no_log": True},
        },
        supports_check_mode=True,
    )
    given = json.loads(module.params["payload"])
    look = preflight.look_at_removal if given.get("removal") else preflight.look
    module.exit_json(changed=False, found=look(given))


if __name__ == "__main__":
    main()
