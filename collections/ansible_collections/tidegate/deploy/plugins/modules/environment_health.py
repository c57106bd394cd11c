#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether a host of an environment does its work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: environment_health
short_description: Tell whether a host of an environment does its work
version_added: "0.2.0"
description:
  - Asks the engine and the Compose plugin for their versions, and runs and stops a container of the image that the
    install left for that. Nothing of it stays.
  - Fails where something does not work.
options:
  environment_spec_file:
    description: Path on the controller of an environment spec, a JSON document. Read as data, never as a template.
    type: path
attributes:
  check_mode:
    description: Does the same in any mode.
    support: full
author:
  - Tidegate contributors (@tidegate)
"""

EXAMPLES = r"""
- name: The host does its work
  tidegate.deploy.environment_health:
"""

RETURN = r"""
tidegate:
  description: The C(checks) that were made, each with C(healthy), a C(message) and a C(hint).
  returned: always
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tidegate.deploy.plugins.module_utils.environment import health


def main() -> None:
    module = AnsibleModule({"environment_spec_file": {"type": "path"}}, supports_check_mode=True)
    module.exit_json(changed=False, checks=health.look())


if __name__ == "__main__":
    main()
