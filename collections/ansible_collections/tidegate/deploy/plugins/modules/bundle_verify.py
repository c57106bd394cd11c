#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""A script bundle on the controller is whole."""

from __future__ import annotations

DOCUMENTATION = r"""
module: bundle_verify
short_description: Verify a script bundle on the controller
version_added: "0.2.0"
description:
  - Holds a bundle to its index, its list of sums and its signature, on the controller, and tells every fault.
    Changes nothing, and asks no host.
options:
  environment_spec_file:
    description: Path on the controller of an environment spec, a JSON document, which the options below override.
    type: path
  bundle_dir:
    description: Folder of the bundle on the controller.
    type: path
  runtime_type:
    description: The runtime that it must be able to install.
    type: str
    choices: [compose, k8s]
  runtime_version:
    description: The runtime's version, which the bundle's index must have.
    type: str
  features:
    description: Features that it must have.
    type: list
    elements: str
  trusted_keys:
    description: Files or base64 of ed25519 public keys. When there is one, the bundle must be signed by one of them.
    type: list
    elements: str
  bundle_digest:
    description: The C(sha256:...) that the bundle must have.
    type: str
  large_later:
    description: Leave the sums of files of 16 MiB and more to M(tidegate.deploy.bundle_delivery), which has each hashed
      once, by the host that is sent it or on the controller. Without that task they are not verified.
    type: bool
    default: false
attributes:
  check_mode:
    description: Changes nothing in any mode.
    support: full
author:
  - Tidegate contributors (@tidegate)
"""

EXAMPLES = r"""
- name: The bundle is whole
  tidegate.deploy.bundle_verify:
    bundle_dir: /srv/bundle
    trusted_keys: [/etc/tidegate/bundle.pub]
  run_once: true
  register: bundle
"""

RETURN = r"""
bundle:
  description: >-
    C(digest), C(signed_by), C(index), the C(files) with their sums, what is C(delivered) to a host, and the
    C(version) and C(status) of the C(runtime) that was asked for; C(unhashed) are the files that were left to the
    delivery.
  returned: success
  type: dict
tidegate:
  description: The step C(bundle_verify); on failure the faults are in C(detail).
  returned: always
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    # Its work is the action plugin's: a host has no bundle.
    AnsibleModule({}).fail_json(msg="tidegate.deploy.bundle_verify runs on the controller, as an action")


if __name__ == "__main__":
    main()
