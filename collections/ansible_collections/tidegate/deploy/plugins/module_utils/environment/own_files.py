# SPDX-License-Identifier: Apache-2.0
"""Files, links and lines of an install's own: known by what is in them, and put in their place whole or not at all."""

from __future__ import annotations

import hashlib
import os
from typing import Any, Dict, List

SYSTEMD = "/etc/systemd/system"
_HOSTS = "/etc/hosts"


def digest(path: str) -> str:
    """The sum of a file's content; empty where there is no plain file."""
    if os.path.islink(path) or not os.path.isfile(path):
        return ""
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def is_own(entry: Dict[str, Any], part: str, there: str) -> bool:
    """Whether what is there now, a sum or a link's target, is what an entry made, or was about to replace: `part` is
    the field that tells."""
    return bool(there) and there in (entry.get(part), entry.get("was"))


def keep(path: str) -> None:
    """Have a file's content, or a folder's names, outlast a loss of power."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def write_file(path: str, content: str, mode: int = 0o644) -> None:
    """A file has this content at once, or still the one it had; it is never there with another mode."""
    making = path + ".tidegate-making"
    if os.path.lexists(making):
        os.unlink(making)
    with open(making, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, mode)) as out:
        out.write(content)
        os.fchmod(out.fileno(), mode)
        out.flush()
        os.fsync(out.fileno())
    os.replace(making, path)
    keep(os.path.dirname(path))


def write_link(path: str, target: str) -> None:
    """A link leads there at once, or still to where it led."""
    making = path + ".tidegate-making"
    if os.path.lexists(making):
        os.unlink(making)
    os.symlink(target, making)
    os.replace(making, path)
    keep(os.path.dirname(path))


def read_hosts() -> List[str]:
    """The lines of /etc/hosts."""
    with open(_HOSTS, encoding="utf-8") as file:
        return file.read().splitlines()


def write_hosts(lines: List[str]) -> None:
    """Write them, in place: in a container the file is a mount of its own, and cannot be replaced."""
    with open(_HOSTS, "r+", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
        file.truncate()
