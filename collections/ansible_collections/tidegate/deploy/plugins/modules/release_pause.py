#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""A canary's pause. The work is the action plugin's: nothing runs on the host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_pause
short_description: Give a canary its time, or leave it to people to decide
version_added: "0.1.0"
description:
  - Waits for O(seconds). Without them waits for nobody, and answers that the release is paused, so that
    the play ends
    and C(release_promote.yml) or C(release_abort.yml) goes on with it.
options:
  seconds:
    description: How long to wait; null for a decision by people.
    type: int
attributes:
  check_mode:
    description: Does not wait.
    support: full
author:
  - Tidegate contributors (@tidegate)
"""

EXAMPLES = r"""
- name: The canary has a minute to show itself
  tidegate.deploy.release_pause:
    seconds: 60
"""

RETURN = r"""
tidegate:
  description: The step C(canary_pause), and C(paused).
  returned: always
  type: dict
"""
