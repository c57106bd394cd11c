#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a cluster has of a project. The work is the action plugin's: no process of its own is started."""

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_info
short_description: Tell what a cluster has of a project
version_added: "0.1.0"
description:
  - Reads the workloads that Tidegate applied, the release they came from, and their fingerprint. Changes nothing.
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
- name: Tell what a cluster has of a project
  tidegate.deploy.k8s_info:
    release_spec_file: /srv/releases/shop-2.json
    kubeconfig: /srv/clusters/prod.kubeconfig
"""

RETURN = r"""
tidegate:
  description: The status, C(tidegate.status/v1).
  returned: always
  type: dict
"""
