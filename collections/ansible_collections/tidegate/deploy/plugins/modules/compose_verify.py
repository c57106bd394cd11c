#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Health of a release on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: compose_verify
short_description: Wait until a Compose project is healthy
version_added: "0.1.0"
description:
  - Waits until every service has its containers running and healthy; tells exit codes, health output and log
    lines if not. Holds the project's lock meanwhile, so that M(tidegate.deploy.compose_cancel) ends it.
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
    description: Says what runs and waits for nothing, since nothing was released.
    support: full
author:
  - Tidegate contributors (@tidegate)
"""

EXAMPLES = r"""
- name: Wait until a Compose project is healthy
  tidegate.deploy.compose_verify:
    release_spec_file: /srv/releases/shop-2.json
"""

RETURN = r"""
summary:
  description: What was done and what runs, as lines for people.
  returned: on success
  type: list
  elements: str
tidegate:
  description: Step C(health), and diagnostics on failure, C(tidegate.step/v1).
  returned: always
  type: dict
"""

from ansible_collections.tidegate.deploy.plugins.module_utils.compose import host_call


def main() -> None:
    host_call.answer("verify")


if __name__ == "__main__":
    main()
