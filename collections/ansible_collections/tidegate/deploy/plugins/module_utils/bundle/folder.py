# SPDX-License-Identifier: Apache-2.0
"""A bundle as a folder: which files are there, and what their content is. No link is ever followed."""

from __future__ import annotations

import hashlib
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Callable, Dict, Iterable, List, Optional, Tuple

from .bundle_path import MOST_LEVELS, printable, problem

_PIECE = 1 << 20
MOST_FILES = 20_000


@dataclass
class Found:
    """What a walk met: `files` path -> bytes, and what is no plain file or has no plain name, with the reason."""

    files: Dict[str, int] = field(default_factory=dict)
    strange: Dict[str, str] = field(default_factory=dict)


def walk(folder: str) -> Found:
    """Everything below a folder. Raises OSError when the folder itself, or one in it, cannot be read."""
    found = Found()
    left: List[Tuple[str, str]] = [(folder, "")]
    while left:
        place, prefix = left.pop()
        with os.scandir(place) as entries:
            for entry in entries:
                path = prefix + entry.name
                kind = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(kind.st_mode):
                    if path.count("/") < MOST_LEVELS:
                        left.append((entry.path, path + "/"))
                    else:
                        found.strange[path] = f"is more than {MOST_LEVELS} levels deep"
                    continue
                why = problem(path) if stat.S_ISREG(kind.st_mode) else f"is {_kind(kind.st_mode)}, no file"
                if why:
                    found.strange[path] = why
                else:
                    found.files[path] = kind.st_size
                if len(found.files) + len(found.strange) > MOST_FILES:
                    raise OSError(f"{printable(folder)} holds more than {MOST_FILES} files")
    return found


def content(folder: str, path: str, most: int) -> bytes:
    """A small file's bytes, at most one more than `most`. Raises OSError; a link on the way is one."""
    with open(opened(folder, path), "rb") as file:
        return file.read(most + 1)


def opened(folder: str, path: str) -> int:
    """A descriptor of a file within the folder, no link followed on the way. Raises OSError."""
    *above, name = path.split("/")
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for one in above:
            below = os.open(one, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=place)
            os.close(place)
            place = below
        # A pipe would be waited for until somebody writes.
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=place)
    finally:
        os.close(place)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(f"{printable(path)} is no file")
    return file


def digests(
    folder: str, paths: Iterable[str], said: Optional[Callable[[int], None]] = None
) -> Dict[str, Tuple[str, int]]:
    """Path -> (sha256 in hex, bytes), hashed side by side; `said` is told of each piece's bytes.

    A file that cannot be read is left out.
    """
    wanted = list(paths)
    # hashlib lets go of the interpreter while it hashes: threads are enough for all cores.
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        found = pool.map(lambda path: _digest(folder, path, said), wanted)
        return {path: one for path, one in zip(wanted, found) if one}  # noqa: B905 (hosts may have Python 3.9)


def _digest(folder: str, path: str, said: Optional[Callable[[int], None]]) -> Optional[Tuple[str, int]]:
    running, size = hashlib.sha256(), 0
    buffer = bytearray(_PIECE)
    view = memoryview(buffer)
    try:
        with open(opened(folder, path), "rb", buffering=0) as file:
            while count := file.readinto(buffer):
                running.update(view[:count])
                size += count
                if said:
                    said(count)
    except OSError:
        return None
    return running.hexdigest(), size


def _kind(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "a link"
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        return "a pipe or socket"
    return "a device"
