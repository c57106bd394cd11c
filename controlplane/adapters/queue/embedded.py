# SPDX-License-Identifier: Apache-2.0
"""Wake-ups between the processes of one machine, through datagram sockets in a folder."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import threading
import time
import uuid
from pathlib import Path

_MAX_MESSAGE = 512
_SUFFIX = ".sock"


class EmbeddedQueue:
    """Each process that waits has a socket in `folder`; a wake-up goes to all of them.

    All, since the one that was chosen might be busy for an hour. Who comes too late finds the job leased.
    Threads that share one object share its socket: a wake-up wakes one of them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Addressed through the open folder: a socket's path may have 107 bytes only, and homes are deep.
        self._handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sender.setblocking(False)
        self._receiver: socket.socket | None = None
        self._name = ""
        self._lock = threading.Lock()
        self._closed = False

    def prepare(self) -> None:
        """Begin to receive. Wake-ups from now on are kept until they are waited for.

        A worker calls this before its first look at the jobs table; `wait` does so itself otherwise.
        """
        with self._lock:
            if self._receiver is not None or self._closed:
                return
            name = uuid.uuid4().hex + _SUFFIX
            receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            receiver.setblocking(False)
            receiver.bind(self._address(name))
            self._receiver, self._name = receiver, name

    def wake(self, job_id: str) -> None:
        """Tell every waiting process that this job became due. Never blocks and never fails for a dead one."""
        message = job_id.encode()
        if not message or len(message) > _MAX_MESSAGE:
            raise ValueError("a job id has 1 to 512 bytes")
        for name in os.listdir(self._handle):
            if name.endswith(_SUFFIX):
                self._send(name, message)

    def wait(self, timeout: float) -> str | None:
        """Block up to `timeout` seconds for a wake-up; return the job id it named, or None."""
        self.prepare()
        receiver = self._receiver
        if receiver is None:
            return None
        deadline = time.monotonic() + timeout
        poll = select.poll()
        try:
            poll.register(receiver, select.POLLIN)
            while True:
                poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
                # Another thread may have taken it; also after time-out, for a wake-up of this very moment.
                with contextlib.suppress(BlockingIOError):
                    return receiver.recv(_MAX_MESSAGE).decode() or None
                if time.monotonic() >= deadline:
                    return None
        except (OSError, ValueError):
            if self._closed:
                return None
            raise

    def close(self) -> None:
        """Stop receiving and remove the socket; threads that wait return None."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            receiver, self._receiver = self._receiver, None
            if receiver is not None:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._name, dir_fd=self._handle)
                # Wakes those who wait in poll: a plain close would leave them there.
                with contextlib.suppress(OSError):
                    receiver.shutdown(socket.SHUT_RDWR)
                receiver.close()
            self._sender.close()
            os.close(self._handle)

    def _address(self, name: str) -> str:
        return f"/proc/self/fd/{self._handle}/{name}"

    def _send(self, name: str, message: bytes) -> None:
        try:
            self._sender.sendto(message, self._address(name))
        except BlockingIOError:
            # Its buffer is full of wake-ups: it will look at the table anyway.
            return
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno not in (errno.ECONNREFUSED, errno.ENOBUFS):
                raise
            if error.errno == errno.ECONNREFUSED:
                # Left behind by a process that was killed; a live one is bound for as long as the file is there.
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=self._handle)
