#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host needs of a bundle is on it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: bundle_delivery
short_description: Have on a host what it needs of a script bundle
version_added: "0.2.0"
description:
  - Sends to the host, over the connection that Ansible has already, those files of a bundle that the host lacks.
    They are kept by their content, below C(sha256/) in the state folder's C(bundle).
  - Each file is hashed while it is written and gets its name in one move. A transfer that was cut goes on where
    it stopped, in this run or in a later one. Room on the disk is looked for before anything is sent.
  - A faulty bundle reaches no host. What is wrong with files below 16 MiB is found before a host is asked for anything;
    a larger file is hashed once, by the host while it arrives there, or on the controller where it is not sent. One
    with another sum than the bundle's list has never gets its name.
  - A file that is there is hashed again when anybody touched it since it was verified, or the host booted since;
    what is altered is replaced.
options:
  environment_spec_file:
    description: Path on the controller of an environment spec, a JSON document, which the options below override.
    type: path
  bundle_dir:
    description: Folder of the bundle on the controller.
    type: path
  runtime_type:
    description: The runtime whose artifacts are meant; all artifacts of the bundle unless given.
    type: str
    choices: [compose, k8s]
  runtime_version:
    description: The runtime's version, which the bundle's index must have.
    type: str
  features:
    description: Features of the index whose artifacts are meant too.
    type: list
    elements: str
  trusted_keys:
    description: Files or base64 of ed25519 public keys. When there is one, a bundle must be signed by one of them.
    type: list
    elements: str
  bundle_digest:
    description: The C(sha256:...) that the bundle must have.
    type: str
  verified:
    description: What M(tidegate.deploy.bundle_verify) returned as C(bundle), so that it is read once for all hosts.
    type: dict
  rehash:
    description: Hash every file, on the host and here, also those that nobody touched since they were verified.
    type: bool
    default: false
  folder:
    description: Folder on the host; the state folder's C(bundle) unless given.
    type: path
attributes:
  check_mode:
    description: Says what would be sent, and sends nothing.
    support: full
seealso:
  - module: tidegate.deploy.bundle_verify
author:
  - Tidegate contributors (@tidegate)
"""

EXAMPLES = r"""
- name: What Compose needs is on the host
  tidegate.deploy.bundle_delivery:
    bundle_dir: /srv/bundle
    runtime_type: compose
    runtime_version: "2.40"
  register: delivered
"""

RETURN = r"""
artifacts:
  description:
    - For each artifact's id its C(path) on the host, C(sha256), C(size), C(type) and C(mode); of an image archive
      C(references) where the index has them.
  returned: success
  type: dict
hooks:
  description: For each hook's path in the bundle its path on the host.
  returned: success
  type: dict
tidegate:
  description: The step C(bundle_delivery); its C(detail) tells files and bytes that were sent, and where it went on.
  returned: always
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    # The action plugin talks with a program of its own on the host.
    AnsibleModule({}).fail_json(msg="tidegate.deploy.bundle_delivery runs as an action")


if __name__ == "__main__":
    main()
