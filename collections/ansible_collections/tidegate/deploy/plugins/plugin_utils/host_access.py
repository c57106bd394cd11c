# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Why a module's work on a host failed, in the project's own words: also where it was not let begin."""

from __future__ import annotations

import re
from typing import Any

from ansible.errors import AnsibleError
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError

_HINT = (
    "Let the user become root with sudo: without a password, or with the one that is given (become_password)."
)
# What Ansible itself says when it could not become another user.
_BECOME = re.compile(r"password|sudo|become|privilege", re.IGNORECASE)
_SUDO = re.compile(
    r"^(\S*/)?(sudo|doas): |is not in the sudoers file|may not run sudo|sudo: (command )?not found",
    re.MULTILINE,
)


def refused(error: AnsibleError) -> ReleaseError:
    """What Ansible could not do on a host that it reached."""
    said = str(error)
    if _BECOME.search(said):
        return ReleaseError("ssh_auth_failed", f"the user cannot become root: {said}", _HINT)
    return ReleaseError("internal_error", said)


def failed(answer: dict[str, Any]) -> ReleaseError:
    """What a module that failed said, or what was said in its place."""
    said = str(answer.get("msg") or "the module failed")
    if "error_key" in answer:
        detail = answer.get("detail") or {}
        return ReleaseError(answer["error_key"], said, answer.get("hint", ""), **detail)
    more = "\n".join(
        str(answer[name]) for name in ("module_stderr", "module_stdout", "exception") if answer.get(name)
    )
    if _SUDO.search(more):
        return ReleaseError("ssh_auth_failed", f"the user cannot become root: {more.strip()[-500:]}", _HINT)
    return ReleaseError("internal_error", f"{said} {more}".strip()[-2000:])
