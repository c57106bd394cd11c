# SPDX-License-Identifier: Apache-2.0
"""Where the lab keeps its things, and the locks that let several processes use one lab.

`$TIDEGATE_LAB_HOME` (default `~/.cache/tidegate-lab`) holds `cache/` (downloads, base image, the engine's
images: survives `down`) and a folder per lab.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

SOCKETS = Path("/run")


def home() -> Path:
    """The folder of all labs of this user."""
    return Path(os.environ.get("TIDEGATE_LAB_HOME") or Path.home() / ".cache" / "tidegate-lab").absolute()


def cache() -> Path:
    """The folder that labs share: downloads and images."""
    return home() / "cache"


def digest(*parts: str, length: int = 12) -> str:
    """A short name for exactly these texts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:length]


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on `path` (created when missing); other processes wait for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # Whoever held it before may have deleted the file; then the lock is on nothing.
            if path.exists() and os.path.samestat(path.stat(), os.fstat(lock.fileno())):
                yield
                return
