# SPDX-License-Identifier: Apache-2.0
"""A process with ansible-runner imported and nothing running in it, from which each run is forked.

Importing ansible-runner costs more than half a second; a fork costs milliseconds. One thread only, so that a fork
takes everything along. It ends when the worker closes its socket, which the kernel does for a killed one.
"""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import signal
import socket
import sys

from controlplane.adapters.runner import supervisor
from controlplane.adapters.runner.processes import children, kill_run


def serve(control: socket.socket, folder: str) -> None:
    """Fork a supervisor for each socket that comes, until the worker is gone; then remove what it left in `folder`.

    Each supervisor does that for its own run; this is for those that were killed together with the worker.
    """
    # Supervisors are reaped by the kernel; none of them is waited for.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    # Ctrl-C in a terminal goes to the whole group: the worker decides what ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What is there now stays: a fork that does not look at it shares its memory.
    gc.freeze()
    while True:
        try:
            message, descriptors, _flags, _address = socket.recv_fds(control, 1, 1)
        except ConnectionError:
            message = b""
        if not message:
            break
        end = socket.socket(fileno=descriptors[0])
        end.set_inheritable(False)
        if os.fork() == 0:
            control.close()
            supervisor.supervise(end)
        end.close()
    # A supervisor that still runs would take the end of its playbook for a failure, and tell it.
    for pid in children():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    kill_run(folder, supervisor=os.getpid())
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2])
