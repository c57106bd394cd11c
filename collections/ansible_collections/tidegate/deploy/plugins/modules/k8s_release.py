#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""A release in a cluster. The work is the action plugin's: no process of its own is started."""

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_release
short_description: Make the objects of a cluster as released
version_added: "0.1.0"
description:
  - Applies the objects in order of their kinds with server-side apply, and only those of which something comes.
  - Waits until workloads are ready, telling how far they are, and fails as soon as they cannot become so.
  - Deletes the pod of an earlier revision at which a StatefulSet's ordered update stands still, once it cannot start
    or was not ready for longer than its probes take; never under C(OnDelete), C(Parallel) or below a partition.
  - A spec with strategy C(blue_green) or C(canary) must have a C(release_id), another one for each release, by which
    what runs is told from what comes. A Job that failed runs again with each release.
  - Prunes what an earlier release of the project applied and this one has not.
  - Refuses with C(preview_stale), nothing touched, when the cluster is not as the spec's fingerprint says.
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
  state:
    description:
      - V(released) applies the release the way its strategy says.
      - V(promoted) goes on with a canary that waits for a decision, V(aborted) takes it back.
      - V(watched) sees that such a canary is well, changes nothing, and fails with C(rollout_failed) when it is not.
      - V(retired) deletes the colour that C(blue_green) kept, once its C(keep_old_seconds) are over.
    type: str
    choices: [released, promoted, aborted, watched, retired]
    default: released
attributes:
  check_mode:
    description: Says whether an object would change, by dry runs on the server, and changes nothing.
    support: full
author:
  - Tidegate contributors (@tidegate)
"""

EXAMPLES = r"""
- name: Make the objects of a cluster as released
  tidegate.deploy.k8s_release:
    release_spec_file: /srv/releases/shop-2.json
    kubeconfig: /srv/clusters/prod.kubeconfig
- name: Let the canary have everything
  tidegate.deploy.k8s_release:
    release_spec_file: /srv/releases/shop-2.json
    kubeconfig: /srv/clusters/prod.kubeconfig
    state: promoted
"""

RETURN = r"""
summary:
  description: What was done and what runs, as lines for people.
  returned: on success
  type: list
  elements: str
tidegate:
  description:
    - Steps C(objects_applied), C(rollout), C(pruned), C(switch) and C(canary), and what runs, C(tidegate.step/v1).
    - C(stuck_pod_deleted) is a step for each pod of an earlier revision that a StatefulSet waited for in vain.
    - C(kept_until) is when the other colour is to be deleted with V(retired), in seconds since the epoch.
    - C(paused) is true when a canary waits for a decision; C(diagnostics) tell why it failed.
  returned: always
  type: dict
"""
