# SPDX-License-Identifier: Apache-2.0
"""What a host has of bundles: files by their content, and which of them were verified when they last changed."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Dict, List, Optional

from ..release.errors import ReleaseError

_PIECE = 1 << 20
_DAY = 86400
PARTIAL_KEPT_DAYS = 3
# Whoever fills a disk to the last byte stops what runs there.
ROOM_LEFT = 64 * 1024 * 1024
_NAME = re.compile(r"[0-9a-f]{64}\Z")
_BOOT = "/proc/sys/kernel/random/boot_id"


def files(bundle: str) -> str:
    """The folder of the files, each named by its sum."""
    return os.path.join(bundle, "sha256")


def look(bundle: str, wanted: List[Dict[str, Any]], rehash: bool, writing: bool) -> List[Dict[str, Any]]:
    """What is there of each wanted {"sha256", "size"}: {"sha256", "present", "altered", "partial_bytes"}.

    A file is hashed unless it was verified since this host booted and nobody touched it since (or with `rehash`).
    With `writing`, what is altered is deleted, and what was verified is remembered.
    """
    folder = files(bundle)
    known = {} if rehash else _verified(bundle)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        found = list(pool.map(lambda one: _look(folder, one, known.get(one["sha256"])), wanted))
    if writing:
        os.makedirs(folder, mode=0o755, exist_ok=True)
        for one in found:
            if one["altered"]:
                os.unlink(os.path.join(folder, one["sha256"]))
        now = {one["sha256"]: one["stamp"] for one in found if one["present"]}
        if any(known.get(sha256) != stamp for sha256, stamp in now.items()):
            _remember(bundle, {**known, **now})
        _forget_old(folder, {one["sha256"] for one in wanted})
    return [{name: value for name, value in one.items() if name != "stamp"} for one in found]


def arrived(bundle: str, taken: List[str]) -> None:
    """Remember files that were verified while they were written."""
    stamps = {sha256: _stamp(os.path.join(files(bundle), sha256)) for sha256 in taken}
    _remember(bundle, {**_verified(bundle), **{sha256: one for sha256, one in stamps.items() if one}})


def require_room(bundle: str, found: List[Dict[str, Any]], wanted: List[Dict[str, Any]]) -> None:
    """Raises ReleaseError storage_full where what is missing does not fit."""
    sizes = {one["sha256"]: one["size"] for one in wanted}
    need = sum(max(0, sizes[one["sha256"]] - one["partial_bytes"]) for one in found if not one["present"])
    place = bundle
    while not os.path.isdir(place):
        place = os.path.dirname(place)
    free = shutil.disk_usage(place).free
    if need and free < need + ROOM_LEFT:
        raise ReleaseError(
            "storage_full",
            f"no room on the host for the bundle: {place} has {free} bytes free, {need + ROOM_LEFT} are needed",
            "Free disk space there, then try again.",
            folder=place, free_bytes=free, needed_bytes=need + ROOM_LEFT,
        )  # fmt: skip


def record(bundle: str, document: Dict[str, Any]) -> bool:
    """Write which bundle the host has been given. Says whether it was another before."""
    path = os.path.join(bundle, "current.json")
    content = json.dumps(document, sort_keys=True)
    try:
        with open(path, encoding="utf-8") as file:
            if file.read() == content:
                return False
    except OSError:
        pass
    _write(path, content)
    return True


def _look(folder: str, one: Dict[str, Any], known: Optional[List[int]]) -> Dict[str, Any]:
    path = os.path.join(folder, one["sha256"])
    stamp = _stamp(path)
    told = {"sha256": one["sha256"], "present": False, "altered": False, "partial_bytes": 0, "stamp": stamp}
    if stamp is None:
        partial = _stamp(path + ".part")
        size = partial[0] if partial else 0
        # More than the whole file is no part of it.
        return {**told, "partial_bytes": size if size <= one["size"] else 0, "altered": os.path.lexists(path)}
    if stamp[0] == one["size"] and (stamp == known or _sum(path) == one["sha256"]):
        return {**told, "present": True}
    return {**told, "altered": True}


def _stamp(path: str) -> Optional[List[int]]:
    """What changes when anybody writes to a file; None where there is no plain file."""
    try:
        found = os.stat(path, follow_symlinks=False)
    except OSError:
        return None
    if not os.path.isfile(path) or os.path.islink(path):
        return None
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def _sum(path: str) -> str:
    running = hashlib.sha256()
    with open(path, "rb") as file:
        for piece in iter(lambda: file.read(_PIECE), b""):
            running.update(piece)
    return running.hexdigest()


def _verified(bundle: str) -> Dict[str, List[int]]:
    try:
        with open(os.path.join(bundle, "verified.json"), encoding="utf-8") as file:
            kept = json.load(file)
        # After a crash a file may hold less than was written to it.
        return dict(kept["files"]) if kept["boot"] == _boot() else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _remember(bundle: str, stamps: Dict[str, List[int]]) -> None:
    there = {name: one for name, one in stamps.items() if os.path.exists(os.path.join(files(bundle), name))}
    _write(os.path.join(bundle, "verified.json"), json.dumps({"boot": _boot(), "files": there}))


def _boot() -> str:
    with open(_BOOT, encoding="ascii") as file:
        return file.read().strip()


def _write(path: str, content: str) -> None:
    making = path + ".making"
    with open(making, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(content)
    os.replace(making, path)


def _forget_old(folder: str, keep: Any) -> None:
    for name in os.listdir(folder):
        sha256, dot, suffix = name.partition(".")
        if not _NAME.match(sha256) or suffix != "part" or sha256 in keep:
            continue
        path = os.path.join(folder, name)
        if time.time() - os.stat(path).st_mtime > PARTIAL_KEPT_DAYS * _DAY:
            os.unlink(path)
