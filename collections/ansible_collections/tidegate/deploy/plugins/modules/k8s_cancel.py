#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The end of a release's work on a cluster. The work is the action plugin's: no process of its own is started."""

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_cancel
short_description: Say that nothing of a release is left running
version_added: "0.1.0"
description:
  - The work of a release to a cluster is the run itself, and ends with it.
  - A canary of the release that stands beside what runs is taken back.
  - Answers C(ended), as M(tidegate.deploy.compose_cancel) does.
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
- name: Say that nothing of a release is left running
  tidegate.deploy.k8s_cancel:
    release_spec_file: /srv/releases/shop-2.json
    kubeconfig: /srv/clusters/prod.kubeconfig
"""

RETURN = r"""
tidegate:
  description: The step C(operation_ended), and C(ended).
  returned: always
  type: dict
"""
