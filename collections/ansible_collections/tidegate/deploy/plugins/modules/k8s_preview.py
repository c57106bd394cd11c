#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a release would change in a cluster. The work is the action plugin's: no process of its own is started."""

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_preview
short_description: Show what a release would change in a cluster
version_added: "0.1.0"
description:
  - Renders the manifests, has the server apply them as a dry run, and compares each object with what is there.
  - Names fields that others own, what would be pruned, what quotas have no room for, and images that no digest pins.
  - Never changes a cluster.
options:
  release_spec_file:
    description: Path of a release spec, a JSON document. Read as data, never as a template.
    type: path
  release_spec:
    description: The release spec by hand; the variable C(release_spec) of the play when neither is given.
    type: raw
  kubeconfig:
    description:
      - Path of a kubeconfig, whose current context is used; the variable C(release_kubeconfig_file) when it is not
        given, else the environment's E(KUBECONFIG).
    type: path
attributes:
  check_mode:
    description: Changes nothing in any mode.
    support: full
author:
  - Tidegate contributors (@tidegate)
"""

EXAMPLES = r"""
- name: Show what a release would change in a cluster
  tidegate.deploy.k8s_preview:
    release_spec_file: /srv/releases/shop-2.json
    kubeconfig: /srv/clusters/prod.kubeconfig
"""

RETURN = r"""
summary:
  description: What would change, as lines for people.
  returned: on success
  type: list
  elements: str
tidegate:
  description: The preview, C(tidegate.preview/v1); the rendered objects are only in the result file.
  returned: always
  type: dict
"""
