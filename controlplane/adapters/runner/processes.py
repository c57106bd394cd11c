# SPDX-License-Identifier: Apache-2.0
"""The processes of a run: known by a mark in their environment, which all that they start inherits.

A process group would not do: ansible-playbook gets a session of its own from pexpect, and so does each ssh that
stays behind as a master (ansible-runner#973). Such a master writes its title over its environment, so it is known
by its title; and what has neither is found as a descendant of the supervisor, which adopts the orphans of its run.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from pathlib import Path

MARK = "TIDEGATE_RUN"
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None)


def of_run(folder: str) -> list[int]:
    """Return the processes, other than the caller, of the run in this folder or of all runs in folders under it."""
    mark = f"{MARK}={folder}".encode()
    title = f"ssh: {folder}/".encode()
    return [
        pid
        for pid in _others()
        if any(entry == mark or entry.startswith(mark + b"/") for entry in _read(pid, "environ").split(b"\0"))
        or _read(pid, "cmdline").startswith(title)
    ]


def descendants(ancestor: int) -> list[int]:
    """Return all living processes that this one started, directly or not."""
    started = _children()
    found = list(started.get(ancestor, ()))
    for pid in found:
        found.extend(started.get(pid, ()))
    return found


def children() -> list[int]:
    """Return the living processes that this one started itself."""
    return list(_children().get(os.getpid(), ()))


def _children() -> dict[int, list[int]]:
    """Return the living children of each process.

    /proc is no snapshot: when a parent dies between the reading of its child and of itself, its child seems to be
    nobody's. Then it is read again; by then another one has adopted the child.
    """
    started: dict[int, list[int]] = {}
    for _ in range(10):
        started, seen = {}, {0, os.getpid()}
        for pid in _others():
            fields = _read(pid, "stat").rpartition(b")")[2].split()
            if not fields:
                continue
            seen.add(pid)
            if fields[0] != b"Z":
                started.setdefault(int(fields[1]), []).append(pid)
        if started.keys() <= seen:
            break
    return started


def kill_run(folder: str, *, supervisor: int | None = None, patience: float = 5.0) -> bool:
    """Kill every process of a run until none is left; False when some outlived `patience` seconds.

    With `supervisor`, its descendants are killed too, whatever they did to their environment.
    """
    until, pause = time.monotonic() + patience, 0.002
    while processes := {*of_run(folder), *(descendants(supervisor) if supervisor else ())}:
        for pid in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > until:
            return False
        time.sleep(pause)
        pause = min(2 * pause, 0.05)
    return True


def adopt_orphans() -> None:
    """Become the parent of each descendant that loses its own (prctl(2), PR_SET_CHILD_SUBREAPER)."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent: int) -> None:
    """Ask the kernel for SIGKILL when the parent dies; leave at once when it is dead already (prctl(2))."""
    _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:
        os._exit(1)


def started_at(pid: int) -> str:
    """Return when a process started, in ticks since boot (proc(5), field 22), '' for none: tells reused pids apart."""
    fields = _read(pid, "stat").rpartition(b")")[2].split()
    return fields[19].decode() if fields else ""


def _others() -> list[int]:
    own = os.getpid()
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != own]


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""
