# SPDX-License-Identifier: Apache-2.0
"""JSON messages over a stream socket: four bytes of length, then the text."""

from __future__ import annotations

import json
import socket
import struct
import threading
from typing import Any

_LENGTH = struct.Struct("!I")


class Channel:
    """One end. Any thread may send; one thread receives."""

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self._sending = threading.Lock()
        self._buffer = bytearray()

    def send(self, message: Any) -> None:
        """Send a message, waiting until the other end takes it.

        Raises:
            OSError: the other end is gone.
        """
        # Lone surrogates are what undecodable output becomes; escaped they pass, and become marks when read.
        text = json.dumps(message).encode("ascii")
        with self._sending:
            self.socket.sendall(_LENGTH.pack(len(text)) + text)

    def receive(self, timeout: float | None = None) -> Any:
        """Return the next message. A timeout loses nothing of a message that has come half way.

        Raises:
            TimeoutError: none came in time.
            EOFError: the other end is gone.
        """
        self.socket.settimeout(timeout)
        self._fill(_LENGTH.size)
        (size,) = _LENGTH.unpack(self._buffer[: _LENGTH.size])
        self._fill(_LENGTH.size + size)
        text = bytes(self._buffer[_LENGTH.size : _LENGTH.size + size])
        del self._buffer[: _LENGTH.size + size]
        return _clean(json.loads(text))

    def _fill(self, size: int) -> None:
        while len(self._buffer) < size:
            try:
                part = self.socket.recv(1 << 20)
            except ConnectionError:
                part = b""
            if not part:
                raise EOFError
            self._buffer += part

    def close(self) -> None:
        """Close this end; the other end sees it."""
        self.socket.close()


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, list):
        return [_clean(each) for each in value]
    if isinstance(value, dict):
        return {_clean(name): _clean(each) for name, each in value.items()}
    return value
