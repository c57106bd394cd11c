#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Make a host ready to become a node of a cluster."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kubernetes_node
short_description: Make a host ready to become a node of a cluster
version_added: "0.2.0"
description:
  - Has kubeadm, kubelet, kubectl, the CNI plugins and the cluster's images on a host, sets what the kernel must do, and
    enables the kubelet, which begins once kubeadm has configured it.
  - Does nothing on a host that the bundle's index does not mean it for.
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
- name: The host can become a node
  tidegate.deploy.kubernetes_node:
    bundle: "{{ bundle_delivery_verified.bundle }}"
    artifacts: "{{ bundle_delivery_done.artifacts }}"
"""

RETURN = r"""
tidegate:
  description: The step C(kubernetes_node); its C(detail) tells what changed, or what was undone and what was left.
  returned: always
  type: dict
"""

from ansible_collections.tidegate.deploy.plugins.module_utils.environment import host_call, kubernetes_node


def main() -> None:
    host_call.answer(kubernetes_node.apply, kubernetes_node.rollback)


if __name__ == "__main__":
    main()
