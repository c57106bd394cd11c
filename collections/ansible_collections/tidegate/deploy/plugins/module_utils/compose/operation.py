# SPDX-License-Identifier: Apache-2.0
"""One operation at a time on a project of a host, fenced by a token that only grows.

The lock is a flock, so it ends with its process; the file says which process group holds it, so that a newer
operation, or a cancel, can end one that nobody waits for any more.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..host import state_folder
from ..release.errors import ReleaseError

_PROJECT = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_GRACE_SECONDS = 10.0


def folder(project: str) -> Path:
    """The project's own folder on this host; raises ReleaseError validation_error for a name that is none."""
    if not _PROJECT.fullmatch(project):
        raise ReleaseError("validation_error", f"{project!r} is no Compose project name")
    return Path(state_folder.path("projects")) / project


def read_release(project: str) -> dict[str, Any]:
    """What was written of the last release; empty when there was none."""
    try:
        return dict(json.loads((folder(project) / "release.json").read_text()))
    except (OSError, ValueError):
        return {}


def differs(path: Path, text: str) -> bool:
    """Would `write` change the file?"""
    return not path.exists() or path.read_text() != text


def write(path: Path, text: str) -> bool:
    """Write a file whole or not at all, readable by its owner only; False when it has this content already."""
    if not differs(path, text):
        return False
    partial = path.with_name(path.name + ".new")
    try:
        with open(
            partial, "w", opener=lambda name, flags: os.open(name, flags, 0o600), encoding="utf-8"
        ) as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    return True


@contextmanager
def exclusive(project: str, token: int | None) -> Iterator[Path]:
    """Hold the project's lock; ends an older operation that holds it.

    Raises ReleaseError target_locked, and storage_full when there is no room for the lock or for what is done under it.
    """
    try:
        with _held(project, token) as path:
            yield path
    except OSError as error:
        if not is_full(error):
            raise
        raise ReleaseError(
            "storage_full", f"no room on the host: {error}", "Free disk space on the host, then try again."
        ) from error


def is_full(error: OSError) -> bool:
    """Did the disk, or what the user may have of it, run out?"""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def _held(project: str, token: int | None) -> Iterator[Path]:
    path = folder(project)
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    _require_newest(project, token)
    with open(path / "operation.lock", "a+", opener=lambda name, flags: os.open(name, flags, 0o600)) as lock:
        _take(lock, project, token)
        _require_newest(project, token)
        if os.getpgrp() != os.getpid():
            os.setpgid(0, 0)
        lock.seek(0)
        lock.truncate()
        json.dump({"pid": os.getpid(), "started": _started(os.getpid()), "fencing_token": token}, lock)
        lock.flush()
        before = signal.signal(signal.SIGTERM, _on_end)
        try:
            yield path
        finally:
            signal.signal(signal.SIGTERM, before)


def _on_end(number: int, frame: Any) -> None:
    raise ReleaseError(
        "cancelled", "the operation was ended on the host", "See who cancelled it, and begin anew."
    )


def cancel(project: str) -> str:
    """End the operation that runs: `none` when none did, `ended`, or `alive` when it could not be ended."""
    path = folder(project) / "operation.lock"
    if not path.exists():
        return "none"
    with open(path, "a+") as lock:
        if _try(lock):
            return "none"
        _end(lock)
        return "ended" if _try(lock) else "alive"


def _take(lock: Any, project: str, token: int | None) -> None:
    if _try(lock):
        return
    if token is not None:
        _end(lock)
    if not _try(lock):
        raise ReleaseError(
            "target_locked", f"another operation on {project} runs on the host", "Wait for it, or cancel it."
        )


def _end(lock: Any) -> None:
    """End the recorded process group, gently and then not, and wait until the lock is free."""
    lock.seek(0)
    try:
        holder = json.loads(lock.read() or "{}")
    except ValueError:
        return
    pid = holder.get("pid")
    if not pid or _started(pid) != holder.get("started"):
        return
    for number, grace in ((signal.SIGTERM, _GRACE_SECONDS / 2), (signal.SIGKILL, _GRACE_SECONDS / 2)):
        try:
            os.killpg(pid, number)
        except OSError:
            return
        until = time.monotonic() + grace
        while time.monotonic() < until:
            if _started(pid) != holder.get("started"):
                return
            time.sleep(0.05)


def _try(lock: Any) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _started(pid: int) -> str | None:
    """When the process began, in clock ticks since boot: a pid alone may have been given again."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


def _require_newest(project: str, token: int | None) -> None:
    known = read_release(project).get("fencing_token")
    if token is not None and known is not None and token < known:
        raise ReleaseError(
            "target_locked", f"a newer operation ({known}) has this project, this one is {token}",
            "Nothing to do: this run lost its lease.",
        )  # fmt: skip
