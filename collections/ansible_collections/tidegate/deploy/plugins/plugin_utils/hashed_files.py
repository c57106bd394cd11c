# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which files this controller hashed since it booted, in its user's cache: `{"boot", "files": {stamp: sha256}}`.

A stamp names a file and what changes when anybody writes to it; its time of change is the kernel's, nobody sets it.
Where there is no cache, or no boot to name, nothing is remembered, and each run hashes for itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os

_BOOT = "/proc/sys/kernel/random/boot_id"
# The oldest are forgotten first.
MOST = 2000


def recall() -> dict[str, str]:
    """The sums by the stamps that their files had."""
    try:
        with open(_path(), encoding="utf-8") as file:
            kept = json.load(file)
        # After a crash a file may hold less than was written to it.
        return dict(kept["files"]) if kept["boot"] == _boot() else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def keep(sums: dict[str, str]) -> None:
    """Remember more of them."""
    with contextlib.suppress(OSError):
        path = _path()
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with open(path + ".lock", "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            files = list({**recall(), **sums}.items())[-MOST:]
            making = path + ".making"
            with open(
                making, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)
            ) as out:
                json.dump({"boot": _boot(), "files": dict(files)}, out)
            os.replace(making, path)


def _path() -> str:
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(cache, "tidegate", "hashed.json")


def _boot() -> str:
    with open(_BOOT, encoding="ascii") as file:
        return file.read().strip()
