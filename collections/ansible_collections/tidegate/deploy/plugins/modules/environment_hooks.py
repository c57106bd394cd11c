#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The hooks of a bundle that are steps of an install are run."""

from __future__ import annotations

DOCUMENTATION = r"""
module: environment_hooks
short_description: Run the steps of an install that are hooks of the bundle
version_added: "0.2.0"
description:
  - Runs each hook that the bundle's index names as a step for this host, in the order of the index. It runs from what
    was verified by its sum, as root, with C(TIDEGATE_*) variables, a context document and the inputs that its step
    names, and with nothing else of anybody's environment; it ends when its step's time is over, with all it started.
  - With C(verb=rollback) the rollback hooks of the steps that were begun here are run, the last first. Secret inputs of
    theirs are kept on no host, so the document has to have them again.
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
  hooks:
    description: What M(tidegate.deploy.bundle_delivery) returned as C(hooks).
    type: dict
  verb:
    description: Whether to run the steps, or to take back what they did.
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
    description: Says that the hooks would run, and runs none.
    support: full
author:
  - Tidegate contributors (@tidegate)
"""

EXAMPLES = r"""
- name: The bundle's own steps are done
  tidegate.deploy.environment_hooks:
    bundle: "{{ bundle_delivery_verified.bundle }}"
    artifacts: "{{ bundle_delivery_done.artifacts }}"
    hooks: "{{ bundle_delivery_done.hooks }}"
"""

RETURN = r"""
tidegate:
  description: One step for each hook; its C(detail) has the C(lines) that it told, its C(outputs) and its exit code.
  returned: always
  type: dict
"""

from ansible_collections.tidegate.deploy.plugins.module_utils.environment import hook_step, host_call


def main() -> None:
    host_call.answer(hook_step.apply, hook_step.rollback)


if __name__ == "__main__":
    main()
