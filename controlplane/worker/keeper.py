# SPDX-License-Identifier: Apache-2.0
"""Keeps a worker running beside the server: a small process that starts another when one dies."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from controlplane.worker import process

if TYPE_CHECKING:
    from controlplane.settings import Settings

PAUSE_SECONDS = 1.0
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
            _keep(settings)
        finally:
            os._exit(0)
    return lambda: _end(child)


def _keep(settings: Settings) -> None:
    worker = 0
    is_over = False

    def stop(_signal: int, _frame: object) -> None:
        nonlocal is_over
        is_over = True
        if worker:
            _signal_quietly(worker, signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)
    # Ctrl-C in a terminal reaches the whole group; the server says when to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while not is_over:
        worker = process.spawn(settings)
        if is_over:
            _signal_quietly(worker, signal.SIGTERM)
        os.waitpid(worker, 0)
        worker = 0
        if not is_over:
            time.sleep(PAUSE_SECONDS)


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
