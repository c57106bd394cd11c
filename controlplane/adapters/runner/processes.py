# SPDX-License-Identifier: Apache-2.0
"""The processes of a run: known by a mark in their environment, which all that they start inherits.

A process group would not do: ansible-playbook gets a session of its own from pexpect, and so does each ssh that
stays behind as a master (ansible-runner#973).
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

MARK = "TIDEGATE_RUN"


def marked(value: str) -> list[int]:
    """Return the processes of ours whose environment holds this mark."""
    wanted = f"{MARK}={value}".encode()
    found = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environ = Path(entry.path, "environ").read_bytes()
        except OSError:
            continue
        if wanted in environ.split(b"\0"):
            found.append(int(entry.name))
    return found


def kill_marked(value: str, patience: float = 5.0) -> bool:
    """Kill every process with this mark until none is left; False when some outlived `patience` seconds."""
    until = time.monotonic() + patience
    while processes := marked(value):
        for pid in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def started_at(pid: int) -> str:
    """Return when a process started, in ticks since boot (proc(5), field 22), '' for none: tells reused pids apart."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]
