# SPDX-License-Identifier: Apache-2.0
"""Where Tidegate keeps what it must remember on a host."""

from __future__ import annotations

import os


def path(name: str) -> str:
    """The folder `name`: below /var/lib/tidegate for root, in the user's own state folder for others."""
    if os.geteuid() == 0:
        return os.path.join("/var/lib/tidegate", name)
    home = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.join(home, "tidegate", name)
