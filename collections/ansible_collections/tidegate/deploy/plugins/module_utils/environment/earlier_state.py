# SPDX-License-Identifier: Apache-2.0
"""What a task changed is brought back to what an earlier one had made of it. Each answers why it is not, or nothing."""

from __future__ import annotations

import os
from typing import Any, Dict

from .own_files import SYSTEMD, digest, is_own, read_hosts, write_file, write_hosts, write_link


def give_back(entry: Dict[str, Any], back: Dict[str, Any]) -> str:
    """Bring the thing of a journal's entry to what it was as `back`, the entry of an earlier task, tells."""
    one = _GIVE_BACK.get(entry["kind"])
    return one(entry, back) if one else ""


def _give_back_content(path: str, entry: Dict[str, Any], back: Dict[str, Any]) -> str:
    there = digest(path)
    if there == back["sha256"]:
        return ""
    if not is_own(entry, "sha256", there):
        return "somebody changed it since"
    if "content" not in back:
        return "what it held before is not known"
    write_file(path, back["content"])
    return ""


def _give_back_file(entry: Dict[str, Any], back: Dict[str, Any]) -> str:
    return _give_back_content(entry["name"], entry, back)


def _give_back_unit(entry: Dict[str, Any], back: Dict[str, Any]) -> str:
    return _give_back_content(os.path.join(SYSTEMD, entry["name"]), entry, back)


def _give_back_link(entry: Dict[str, Any], back: Dict[str, Any]) -> str:
    there = os.readlink(entry["name"]) if os.path.islink(entry["name"]) else ""
    if there == back["target"]:
        return ""
    if not is_own(entry, "target", there):
        return "somebody changed it since"
    write_link(entry["name"], back["target"])
    return ""


def _give_back_hosts_line(entry: Dict[str, Any], back: Dict[str, Any]) -> str:
    lines = read_hosts()
    if entry["line"] not in lines:
        return "" if back["line"] in lines else "somebody changed it since"
    write_hosts([one for one in lines if one not in (entry["line"], back["line"])] + [back["line"]])
    return ""


def _give_back_hook(_entry: Dict[str, Any], _back: Dict[str, Any]) -> str:
    return "an earlier install ran it, too"


# What is not told here is the same for whoever made it.
_GIVE_BACK = {
    "file": _give_back_file,
    "unit": _give_back_unit,
    "link": _give_back_link,
    "hosts_line": _give_back_hosts_line,
    "hook": _give_back_hook,
}
