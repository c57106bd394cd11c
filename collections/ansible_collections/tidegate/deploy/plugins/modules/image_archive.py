#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Images on a host out of archives, without a registry."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_archive
short_description: Have images on a host, out of archives and without a registry
version_added: "0.1.0"
description:
  - Sends docker or OCI archives from the controller to the host over the connection that Ansible has
    already, loads
    them and gives them their references. An image that the host has costs one inspect and no transfer.
  - A transfer that was cut is taken up where it stopped, by this run or by a later one.
  - What arrived is hashed before the engine reads it.
options:
  release_spec_file:
    description: Path on the controller of a release spec; its C(images) that have an C(archive) are meant.
    type: path
  release_spec:
    description: The release spec by hand, in place of O(release_spec_file).
    type: raw
  images:
    description: The images, in place of O(release_spec_file).
    type: list
    elements: dict
    suboptions:
      reference:
        description: The name that the image is to have on the host.
        type: str
        required: true
      archive:
        description: Path on the controller of a docker or OCI archive. Not read when the host has the image.
        type: path
      archive_digest:
        description: The file's C(sha256:...); the run fails when it is another.
        type: str
      image_id:
        description: The image's id, C(sha256:...). Read from the archive when it is not given.
        type: str
      size:
        description: Bytes of the archive. Set by the action plugin.
        type: int
      manifest:
        description: What makes a docker archive of an OCI archive. Set by the action plugin.
        type: dict
  incoming:
    description:
      - Folder on the host that archives are sent to. The state folder of Tidegate unless given.
    type: path
  step:
    description: Which part of the work the host does; set by the action plugin.
    type: str
    choices: [look, prepare, load]
    default: look
attributes:
  check_mode:
    description: Says which images would be sent, and sends none.
    support: full
author:
  - Tidegate contributors (@tidegate)
"""

EXAMPLES = r"""
- name: The images of a release are on the host
  tidegate.deploy.image_archive:
    release_spec_file: /srv/releases/shop-2.json

- name: One image, by hand
  tidegate.deploy.image_archive:
    images:
      - reference: shop:2
        archive: /srv/archives/shop-2.tar
"""

RETURN = r"""
tidegate:
  description: A step C(images_present) for each image.
  returned: always
  type: dict
  contains:
    steps:
      description: For each image its status, times, and in C(detail) the bytes sent.
      type: list
      elements: dict
"""

import errno
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.tidegate.deploy.plugins.module_utils.host import (
    image_store,
    state_folder,
    step_record,
)

_IMAGE = {
    "reference": {"type": "str", "required": True},
    "archive": {"type": "path"},
    "archive_digest": {"type": "str"},
    "image_id": {"type": "str"},
    "size": {"type": "int"},
    "manifest": {"type": "dict"},
}
ARGUMENTS = {
    "release_spec_file": {"type": "path"},
    "release_spec": {"type": "raw", "no_log": True},
    "images": {"type": "list", "elements": "dict", "options": _IMAGE},
    "incoming": {"type": "path"},
    "step": {"type": "str", "choices": ["look", "prepare", "load"], "default": "look"},
}


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    incoming = module.params["incoming"] or state_folder.path("incoming")
    images = [
        image_store.Wanted(
            one["reference"], one["image_id"], one["archive_digest"], one["size"] or 0, one["manifest"]
        )
        for one in module.params["images"] or []
    ]
    started = time.time()
    try:
        if module.params["step"] == "load":
            steps = [image_store.load(image, incoming) for image in images]
            module.exit_json(changed=True, steps=steps)
        if module.params["step"] == "prepare":
            image_store.prepare(images, incoming)
        found = image_store.look(images, incoming)
        retagged = []
        for image, one in zip(images, found):  # noqa: B905 (hosts may have Python 3.9)
            if one["present"] and not one["tagged"]:
                retagged.append(one["reference"])
                if not module.check_mode:
                    image_store.tag(image)
        module.exit_json(changed=bool(retagged), found=found, retagged=retagged, incoming=incoming)
    except OSError as error:
        key = "storage_full" if error.errno == errno.ENOSPC else "preflight_failed"
        failed = step_record.step("images_present", "failed", started, str(error))
        hint = "Free disk space on the host, then try again."
        module.fail_json(msg=str(error), tidegate=step_record.failure("", key, str(error), hint, [failed]))
    except image_store.ImageStoreError as error:
        failed = step_record.step("images_present", "failed", started, str(error), **error.detail)
        module.fail_json(
            msg=str(error),
            tidegate=step_record.failure("", error.error_key, str(error), error.hint, [failed]),
        )


if __name__ == "__main__":
    main()
