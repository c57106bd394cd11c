# SPDX-License-Identifier: Apache-2.0
"""Waits for the end of a worker, and for word that it is to end; imports nothing that would cost memory meanwhile.

`python waiter.py PID FD`: the worker is a child of this process already, and FD holds the settings for the next one.
"""

from __future__ import annotations

import os
import signal
import sys
import time

PAUSE_SECONDS = 1.0
KEEPER = "controlplane.worker.keeper"


def wait(worker: int) -> bool:
    """Wait for a worker that is a child of this process; say whether it was to end."""
    is_over = False

    def stop(_signal: int, _frame: object) -> None:
        nonlocal is_over
        is_over = True
        if worker:
            os.kill(worker, signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    os.waitpid(worker, 0)
    worker = 0
    if not is_over:
        time.sleep(PAUSE_SECONDS)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    return is_over


if __name__ == "__main__":
    if not wait(int(sys.argv[1])):
        os.execv(sys.executable, [sys.executable, "-P", "-m", KEEPER, sys.argv[2]])  # noqa: S606
