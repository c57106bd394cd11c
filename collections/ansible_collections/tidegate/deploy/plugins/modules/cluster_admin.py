#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ask a cluster's first control plane on behalf of the other nodes."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_admin
short_description: Ask a cluster's first control plane on behalf of the other nodes
version_added: "0.2.0"
description:
  - Does nothing on other hosts. What it returns may be secret; give the task C(no_log).
options:
  environment_spec_file:
    description: Path on the controller of an environment spec, a JSON document. Read as data, never as a template.
    type: path
  bundle:
    description: What M(tidegate.deploy.bundle_verify) returned as C(bundle).
    type: dict
  verb:
    description:
      - C(open) makes a token with which the nodes of C(role) can join, where one of them has not; C(close) takes away
        all that was made for that. C(nodes) tells the cluster's nodes.
      - C(kubeconfig) keeps the administrator's kubeconfig in the spec's C(result_dir).
    type: str
    required: true
    choices: [open, close, nodes, kubeconfig]
  role:
    description: Who is to join.
    type: str
    choices: [control_plane, worker]
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
    description: Makes nothing, and answers C(nodes) where there is a cluster.
    support: full
author:
  - Tidegate contributors (@tidegate)
"""

EXAMPLES = r"""
- name: What a worker needs to join is made, where one has to
  tidegate.deploy.cluster_admin:
    bundle: "{{ bundle_delivery_verified.bundle }}"
    verb: open
    role: worker
  no_log: true
  register: kubeadm_worker_admission
"""

RETURN = r"""
admission:
  description: What was asked for.
  returned: success
  type: dict
"""

import json

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tidegate.deploy.plugins.module_utils.environment import cluster_admin
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError


def main() -> None:
    module = AnsibleModule(
        {
            "environment_spec_file": {"type": "path"},
            "bundle": {"type": "dict"},
            "verb": {"type": "str", "choices": list(cluster_admin.VERBS)},
            "role": {"type": "str", "choices": ["control_plane", "worker"]},
            "steps": {"type": "list", "elements": "dict", "default": []},
            "payload": {"type": "str", "required": True, "no_log": True},
        },
        supports_check_mode=True,
    )
    given = json.loads(module.params["payload"])
    try:
        is_asked = not module.check_mode or given["verb"] == "nodes"
        admission = cluster_admin.answer(given["verb"], given["work"]) if is_asked else {}
    except ReleaseError as error:
        module.fail_json(msg=str(error), error_key=error.error_key, hint=error.hint)
    module.exit_json(changed=False, admission=admission)


if __name__ == "__main__":
    main()
