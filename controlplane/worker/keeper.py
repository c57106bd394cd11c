# SPDX-License-Identifier: Apache-2.0
"""Keeps a worker running beside the server: a small process that starts another when one dies.

A worker is forked from a process that has loaded what server and workers share. What then waits for its end needs none
of that and becomes `waiter.py`; when the worker died, that becomes this module again.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from controlplane.worker import process, waiter

if TYPE_CHECKING:
    from controlplane.settings import Settings

STOP_SECONDS = 20.0


def keep(settings: Settings) -> Callable[[], None]:
    """Fork the keeper and return what ends it and its worker, waiting until both are gone.

    It ends with this process, however that ends. Call it before threads are started.
    """
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        try:
            process.end_with_parent(parent)
            _keep(settings, _written(settings))
        finally:
            os._exit(1)
    return lambda: _end(child)


def _written(settings: Settings) -> int:
    """Return a file in memory with the settings, open for those that this process becomes."""
    written = os.memfd_create("settings")
    with open(written, "wb", closefd=False) as file:
        pickle.dump(settings, file)
    return written


def _read(written: int) -> Settings:
    os.lseek(written, 0, os.SEEK_SET)
    with open(written, "rb", closefd=False) as file:
        settings: Settings = pickle.load(file)  # noqa: S301 - this process wrote it
    return settings


def _keep(settings: Settings, written: int) -> None:
    # Whoever waits takes it: until then it is kept back.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    # Ctrl-C in a terminal reaches the whole group; the server says when to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    worker = process.spawn(settings)
    # Nothing that the worker starts is to have it; only what this process becomes.
    os.set_inheritable(written, True)
    os.execv(sys.executable, [sys.executable, "-I", "-S", waiter.__file__, str(worker), str(written)])  # noqa: S606


def _end(child: int) -> None:
    _signal_quietly(child, signal.SIGTERM)
    until = time.monotonic() + STOP_SECONDS
    while time.monotonic() < until:
        found, _status = os.waitpid(child, os.WNOHANG)
        if found:
            return
        time.sleep(0.05)
    # Its worker is told by the kernel, as it is when the server is killed.
    _signal_quietly(child, signal.SIGKILL)
    os.waitpid(child, 0)


def _signal_quietly(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


if __name__ == "__main__":
    os.set_inheritable(int(sys.argv[1]), False)
    _keep(_read(int(sys.argv[1])), int(sys.argv[1]))
