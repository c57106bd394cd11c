#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The certificates of a control plane that kubeadm made: listed, or rotated."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_certificates
short_description: List or rotate the certificates of a control plane that kubeadm made
version_added: "0.2.0"
description:
  - C(list) tells of every certificate and authority whom it names and when it ends, and what a rotation would do.
  - C(rotate) lets kubeadm renew them and restarts the static pods, each when the one before serves again. The
    files from before are kept until then, and put back where a pod does not.
  - Run C(rotate) on one control plane after another (C(serial) 1).
  - Does nothing on a host that is no control plane.
options:
  environment_spec_file:
    description: Path on the controller of an environment spec, a JSON document. Read as data, never as a template.
    type: path
  verb:
    description: Whether to list or to rotate.
    type: str
    choices: [list, rotate]
    default: list
  within_days:
    description: A rotation is said to be needed when a certificate ends within so many days.
    type: int
    default: 30
  payload:
    description: What the host is told. Set by the action plugin.
    type: str
attributes:
  check_mode:
    description: Lists only; C(rotate) says that it would change something.
    support: full
author:
  - Tidegate contributors (@tidegate)
"""

EXAMPLES = r"""
- name: The certificates are listed
  tidegate.deploy.cluster_certificates:
    verb: list
"""

RETURN = r"""
tidegate:
  description: The steps of the rotation, and C(certificates) with C(name), C(subject), C(expires_at), C(days_left).
  returned: always
  type: dict
"""

import json

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tidegate.deploy.plugins.module_utils.environment import (
    certificate_checks,
    certificate_rotation,
    certificate_set,
    host_lock,
    time_limit,
)
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError


def look(work):
    rows = certificate_set.read()
    return {
        "changed": False,
        "certificates": rows,
        "fingerprint": certificate_set.fingerprint(rows),
        "plan": certificate_checks.plan(rows),
        "checks": certificate_checks.judge(rows, work["within_days"]),
    }


def rotate(given, steps):
    with host_lock.held_after_own(given["holder"], given["token"], certificate_rotation.SECONDS):
        with time_limit.within(certificate_rotation.SECONDS, "the rotation"):
            outcome = certificate_rotation.rotate(given["work"], steps)
    host_lock.release(given["holder"])
    return {**look(given["work"]), **outcome}


def main() -> None:
    module = AnsibleModule(
        {
            "environment_spec_file": {"type": "path"},
            "verb": {"type": "str", "choices": ["list", "rotate"], "default": "list"},
            "within_days": {"type": "int", "default": 30},
            "payload": {"type": "str", "no_log": True},
        },
        supports_check_mode=True,
    )
    given = json.loads(module.params["payload"])
    steps = []
    if not certificate_set.is_there():
        module.exit_json(changed=False, outcome={}, steps=steps)
    try:
        if given["verb"] == "list" or module.check_mode:
            outcome = look(given["work"])
            module.exit_json(changed=given["verb"] == "rotate", outcome=outcome, steps=steps)
        outcome = rotate(given, steps)
    except ReleaseError as error:
        module.fail_json(
            msg=str(error),
            error_key=error.error_key,
            hint=error.hint,
            detail={**error.detail, "steps": steps},
        )
    module.exit_json(changed=outcome["changed"], outcome=outcome, steps=steps)


if __name__ == "__main__":
    main()
