#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Begin a cluster with kubeadm."""

from __future__ import annotations

DOCUMENTATION = r"""
module: control_plane_init
short_description: Begin a cluster with kubeadm
version_added: "0.2.0"
description:
  - Runs C(kubeadm init) once. One that was broken off is taken back and begun anew.
  - With the input C(etcd_endpoints) it begins in an etcd elsewhere, which has to hold no cluster, and is cleared again
    with C(verb=rollback).
  - What a cluster was begun with stays; inputs that say otherwise are refused.
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
- name: The first control plane is up
  tidegate.deploy.control_plane_init:
    bundle: "{{ bundle_delivery_verified.bundle }}"
    artifacts: "{{ bundle_delivery_done.artifacts }}"
"""

RETURN = r"""
tidegate:
  description: The step C(control_plane_init); its C(detail) tells what changed, or what was undone and what was left.
  returned: always
  type: dict
"""

from ansible_collections.tidegate.deploy.plugins.module_utils.environment import host_call, kubeadm


def main() -> None:
    host_call.answer(kubeadm.init, kubeadm.rollback(kubeadm.INIT))


if __name__ == "__main__":
    main()
