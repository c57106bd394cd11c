# SPDX-License-Identifier: Apache-2.0
"""A process with ansible-runner imported and nothing running in it, from which each run is forked.

Importing ansible-runner costs more than half a second; a fork costs milliseconds. One thread only, so that a fork
takes everything along. It ends when the worker closes its socket, which the kernel does for a killed one.
"""

from __future__ import annotations

import os
import signal
import socket
import sys

from controlplane.adapters.runner import supervisor


def serve(control: socket.socket) -> None:
    """Fork a supervisor for each socket that comes, until the worker is gone."""
    # Supervisors are reaped by the kernel; none of them is waited for.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    # Ctrl-C in a terminal goes to the whole group: the worker decides what ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        message, descriptors, _flags, _address = socket.recv_fds(control, 1, 1)
        if not message:
            return
        if os.fork() == 0:
            control.close()
            supervisor.supervise(socket.socket(fileno=descriptors[0]))
        os.close(descriptors[0])


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
