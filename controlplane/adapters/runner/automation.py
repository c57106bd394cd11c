# SPDX-License-Identifier: Apache-2.0
"""Where the automation side is: in a checkout beside the package, in a wheel inside it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import controlplane

_PACKAGE = Path(controlplane.__file__).resolve().parent


def automation_home() -> Path:
    """Return the folder that holds `playbooks`, `roles`, `collections` and `ansible.cfg`.

    `TIDEGATE_AUTOMATION_HOME` wins over a checkout, and a checkout over what the wheel carries.

    Raises:
        FileNotFoundError: none of them has playbooks.
    """
    named = os.environ.get("TIDEGATE_AUTOMATION_HOME")
    places = [Path(named)] if named else [_PACKAGE.parent, _PACKAGE / "_automation"]
    for place in places:
        if (place / "playbooks" / "release_apply.yml").is_file():
            return place
    raise FileNotFoundError(f"no playbooks in {' or '.join(str(place) for place in places)}")


def environment(home: Path, private: Path) -> dict[str, str]:
    """Return what Ansible needs in its environment to use `home`, with its own files kept in `private`."""
    binaries = str(Path(sys.executable).parent)
    return {
        "PATH": os.pathsep.join([binaries, os.environ.get("PATH", os.defpath)]),
        "ANSIBLE_CONFIG": str(home / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(home / "collections"),
        "ANSIBLE_ROLES_PATH": str(home / "roles"),
        "ANSIBLE_LOCAL_TEMP": str(private / "tmp"),
        # A connection that outlives the run could be used by the next one under another credential.
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(private / "cp"),
        "ANSIBLE_HOST_KEY_CHECKING": "True",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_FORCE_COLOR": "0",
        "PYTHONUNBUFFERED": "1",
    }
