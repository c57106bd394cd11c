# SPDX-License-Identifier: Apache-2.0
"""Where the automation side is: in a checkout beside the package, in a wheel inside it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import controlplane

_PACKAGE = Path(controlplane.__file__).resolve().parent
# All that a playbook gets of the worker's environment: the rest (a database's password, other Ansible settings,
# an ssh agent) is none of its business.
_PASSED_ON = ("HOME", "USER", "LOGNAME", "SHELL", "TZ", "TMPDIR")


def automation_home() -> Path:
    """Return the folder that holds `playbooks`, `roles`, `collections` and `ansible.cfg`.

    `TIDEGATE_AUTOMATION_HOME` wins over a checkout, and a checkout over what the wheel carries.

    Raises:
        FileNotFoundError: none of them has playbooks.
    """
    named = os.environ.get("TIDEGATE_AUTOMATION_HOME")
    places = [Path(named).absolute()] if named else [_PACKAGE.parent, _PACKAGE / "_automation"]
    for place in places:
        if (place / "playbooks" / "release_apply.yml").is_file():
            return place
    raise FileNotFoundError(f"no playbooks in {' or '.join(str(place) for place in places)}")


def environment(home: Path, private: Path) -> dict[str, str]:
    """Return the whole environment, but for secrets, in which Ansible uses `home` and keeps its files in `private`."""
    binaries = str(Path(sys.executable).parent)
    return {
        **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
        "PATH": os.pathsep.join([binaries, os.environ.get("PATH", os.defpath)]),
        # Ansible starts under UTF-8 only.
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_CONFIG": str(home / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(home / "collections"),
        "ANSIBLE_ROLES_PATH": str(home / "roles"),
        "ANSIBLE_HOME": str(private / "ansible"),
        "ANSIBLE_LOCAL_TEMP": str(private / "tmp"),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(private / "cp"),
        "ANSIBLE_HOST_KEY_CHECKING": "True",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_FORCE_COLOR": "0",
        "PYTHONUNBUFFERED": "1",
    }
