#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""A release on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: compose_release
short_description: Make a Compose project as released
version_added: "0.1.0"
description:
  - Checks that all images are on the host, pulling what is missing by digest, writes the project and brings it up.
  - Does nothing but name them when images are missing that archives of the release have;
    M(tidegate.deploy.image_archive) brings those.
options:
  release_spec_file:
    description: Path on the controller of a release spec, a JSON document. Read as data, never as a template.
    type: path
  release_spec:
    description: The release spec by hand; the variable C(release_spec) of the play when neither is given.
    type: raw
  images:
    description: The images of a preview, by service, when the spec has no C(resolved_images).
    type: list
    elements: dict
  compare:
    description:
      - Fail with C(preview_stale) and touch nothing when the host is not as the spec's fingerprint says.
    type: bool
    default: false
  payload:
    description: What the host is told. Set by the action plugin.
    type: str
attributes:
  check_mode:
    description: Says what would change, image by image and step by step, and changes nothing.
    support: full
author:
  - Tidegate contributors (@tidegate)
"""

EXAMPLES = r"""
- name: Make a Compose project as released
  tidegate.deploy.compose_release:
    release_spec_file: /srv/releases/shop-2.json
"""

RETURN = r"""
summary:
  description: What was done and what runs, as lines for people.
  returned: on success
  type: list
  elements: str
tidegate:
  description:
    - Steps C(images_present), C(project_written), C(project_up) and what runs, C(tidegate.step/v1); and C(health),
      when all is healthy at once.
  returned: always
  type: dict
verified:
  description: Whether all services are healthy, so that nobody has to wait for them.
  returned: when the project is as released
  type: bool
missing:
  description: References of images that have to be brought first; nothing was done.
  returned: when there are any
  type: list
  elements: str
"""

from ansible_collections.tidegate.deploy.plugins.module_utils.compose import host_call


def main() -> None:
    host_call.answer("apply")


if __name__ == "__main__":
    main()
