# SPDX-License-Identifier: Apache-2.0
"""A worker as a process: what `tidegate worker` runs, and what `tidegate serve` starts beside the server."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from controlplane.settings import Settings

log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1


def main(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT: jobs that run then are ended and given back to other workers."""
    # The runner's zygote is forked first, from a process without threads and with little memory.
    from controlplane.adapters.runner.runner import AnsibleRunner

    runner = AnsibleRunner(settings.run_dir)
    from controlplane.bootstrap import build_core
    from controlplane.worker import scheduler
    from controlplane.worker.loop import Worker

    core = build_core(settings)
    worker = Worker(core, runner, slots=settings.workers)
    stopping = threading.Event()

    def stop(_signal: int, _frame: object) -> None:
        stopping.set()
        worker.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    ticking = threading.Thread(target=scheduler.run, args=(core, stopping), name="scheduler", daemon=True)
    ticking.start()
    try:
        worker.run()
    finally:
        stopping.set()
        ticking.join(timeout=5)
        runner.close()
        core.queue.close()


def spawn(settings: Settings) -> int:
    """Fork a worker and return its process id. It ends when the process that forked it does, however that ends.

    Call it before threads are started: a fork takes only the calling one along.
    """
    parent = os.getpid()
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        # Whoever forks it may have kept it back for itself.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        end_with_parent(parent)
        main(settings)
        status = 0
    except Exception:
        log.exception("the worker broke off")
    finally:
        os._exit(status)


def end_with_parent(parent: int, sent: int = signal.SIGTERM) -> None:
    """Ask the kernel for a signal when the parent dies; leave at once when it is dead already (prctl(2))."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(sent))
    if os.getppid() != parent:
        os._exit(1)
