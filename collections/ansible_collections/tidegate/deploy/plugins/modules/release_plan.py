#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""How a release goes over the hosts of a play."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_plan
short_description: Tell how a release goes over the hosts
version_added: "0.1.0"
description:
  - Reads the strategy out of a release spec, on the controller. Changes nothing.
options:
  release_spec_file:
    description: Path on the controller of a release spec, a JSON document. Read as data, never as a template.
    type: path
  release_spec:
    description: The release spec by hand; the variable C(release_spec) of the play when neither is given.
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
- name: Tell how a release goes over the hosts
  tidegate.deploy.release_plan:
    release_spec_file: /srv/releases/shop-2.json
"""

RETURN = r"""
tidegate:
  description: The error, when the strategy cannot be.
  returned: always
  type: dict
"""

from ansible_collections.tidegate.deploy.plugins.module_utils.compose import host_call


def main() -> None:
    host_call.answer("plan")


if __name__ == "__main__":
    main()
