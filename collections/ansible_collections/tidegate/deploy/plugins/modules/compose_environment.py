#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The Compose plugin is on a host, and a container runs there."""

from __future__ import annotations

DOCUMENTATION = r"""
module: compose_environment
short_description: Have the Compose plugin on a host, and see that a container runs
version_added: "0.2.0"
description:
  - Installs the Compose plugin where the host has none, loads the bundle's test image, runs a container of it and
      stops it. Nothing of that container stays.
  - What is made is written down on the host before it is made; C(verb=rollback) takes away that and no more.
options:
  environment_spec_file:
    description: Path on the controller of an environment spec, a JSON document. Read as data, never as a template.
    type: path
  bundle:
    description: What M(tidegate.deploy.bundle_verify) returned as C(bundle).
    type: dict
  artifacts:
    description: What M(tidegate.deploy.bundle_delivery) returned as C(artifacts).
    type: dict
  verb:
    description: Whether to install, or to take away what was installed.
    type: str
    choices: [apply, rollback]
    default: apply
  steps:
    description: Steps that tasks before this one took for the same result.
    type: list
    elements: dict
    default: []
  payload:
    description: What the host is told. Set by the action plugin.
    type: str
    required: true
attributes:
  check_mode:
    description: Says what would change, and changes nothing.
    support: full
author:
  - Tidegate contributors (@tidegate)
"""

EXAMPLES = r"""
- name: Have the Compose plugin on a host, and see that a container runs
  tidegate.deploy.compose_environment:
    bundle: "{{ bundle_delivery_verified.bundle }}"
    artifacts: "{{ bundle_delivery_done.artifacts }}"
"""

RETURN = r"""
tidegate:
  description: The step C(compose_environment); its C(detail) tells what changed, or what was undone and what was left.
  returned: always
  type: dict
"""

from ansible_collections.tidegate.deploy.plugins.module_utils.environment import (
    compose_environment,
    host_call,
)


def main() -> None:
    host_call.answer(compose_environment.apply, compose_environment.rollback)


if __name__ == "__main__":
    main()
