#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Add the VIP to the API server's certificate."""

from __future__ import annotations

DOCUMENTATION = r"""
module: network_entry_certificate
short_description: Add the VIP to the API server's certificate
version_added: "0.2.0"
description:
  - Makes the API server's certificate on a control plane that kubeadm made again, with the VIP among its
    names, starts the server by it and waits until it is ready. The old one is put back where it is not.
  - Run it on one control plane after another (C(serial) 1); the last one writes the configuration into
    the cluster.
options:
  network_entry_spec_file:
    description: Path on the controller of a network entry spec, a JSON document. Read as data, never as a template.
    type: path
  network_entry_spec:
    description: The spec by hand; the variable C(network_entry_spec) of the play when neither is given.
    type: raw
  payload:
    description: What the host is told. Set by the action plugin.
    type: str
  among:
    description: The control planes in their order, the last of which writes the configuration; those of the play
      when it is left out.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Tells whether the certificate would be made again.
    support: full
author:
  - Tidegate contributors (@tidegate)
"""

EXAMPLES = r"""
- name: Add the VIP to the API server's certificate
  tidegate.deploy.network_entry_certificate:
    network_entry_spec_file: /srv/entries/east.json
"""

RETURN = r"""
tidegate:
  description: The result for the timeline; see the collection's README for its shapes.
  returned: always
  type: dict
"""

from ansible_collections.tidegate.deploy.plugins.module_utils.network_entry import api_certificate, host_call


def work(payload, steps):
    verbs = {"read": api_certificate.read, "renew": api_certificate.renew}
    return verbs[payload["mode"]](payload, steps)


def main() -> None:
    host_call.answer(work, {"among": {"type": "list", "elements": "str", "default": []}})


if __name__ == "__main__":
    main()
