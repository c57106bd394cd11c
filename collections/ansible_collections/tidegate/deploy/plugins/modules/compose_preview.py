#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a release would change on a host, and whether it could."""

from __future__ import annotations

DOCUMENTATION = r"""
module: compose_preview
short_description: Show what a release would change
version_added: "0.1.0"
description:
  - Renders the project, has Compose validate it, resolves images to digests, and compares each service with what runs.
  - Never changes a host.
options:
  release_spec_file:
    description: Path on the controller of a release spec, a JSON document. Read as data, never as a template.
    type: path
  release_spec:
    description: The release spec by hand; the variable C(release_spec) of the play when neither is given.
    type: raw
  compare:
    description: Fail with C(preview_stale) when the host is not as the spec's fingerprints say; show no diff.
    type: bool
    default: false
  payload:
    description: What the host is told. Set by the action plugin.
    type: str
attributes:
  check_mode:
    description: Changes nothing in any mode.
    support: full
author:
  - Tidegate contributors (@tidegate)
"""

EXAMPLES = r"""
- name: Show what a release would change
  tidegate.deploy.compose_preview:
    release_spec_file: /srv/releases/shop-2.json
"""

RETURN = r"""
summary:
  description: What would change, as lines for people.
  returned: on success
  type: list
  elements: str
tidegate:
  description: The preview, C(tidegate.preview/v1); the rendered project is only in the result file.
  returned: always
  type: dict
"""

from ansible_collections.tidegate.deploy.plugins.module_utils.compose import host_call


def main() -> None:
    host_call.answer("preview")


if __name__ == "__main__":
    main()
