# SPDX-License-Identifier: Apache-2.0
"""JSON messages over a stream socket: four bytes of length, then the text."""

from __future__ import annotations

import json
import socket
import struct
import threading
from typing import Any

_LENGTH = struct.Struct("!I")


def encode(message: Any) -> bytes:
    """Return the text of a message. Lone surrogates, which undecodable output becomes, turn into question marks."""
    return json.dumps(message, ensure_ascii=False).encode("utf-8", "replace")


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
        self.send_text(encode(message))

    def send_text(self, text: bytes) -> None:
        """Send what `encode` made."""
        with self._sending:
            self.socket.sendall(_LENGTH.pack(len(text)) + text)

    def receive(self, timeout: float | None = None) -> Any:
        """Return the next message. A timeout (seconds) loses nothing of a message that has come half way.

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
        return json.loads(text)

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
