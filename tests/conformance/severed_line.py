# SPDX-License-Identifier: Apache-2.0
"""A line to a TCP server that can be severed and mended, at an address of its own."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Line:
    """Hands on what comes to `address` while it is whole; severed, it refuses and cuts what is open."""

    def __init__(self, host: str, port: int) -> None:
        self._goal = (host, port)
        self._open: list[socket.socket] = []
        self._is_whole = True
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def endpoint(self) -> str:
        """Where it is reached, as a cluster's endpoint."""
        return f"https://127.0.0.1:{self._listener.getsockname()[1]}"

    def sever(self) -> None:
        """Cut it."""
        self._is_whole = False
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def mend(self) -> None:
        """Make it whole again."""
        self._is_whole = True

    def close(self) -> None:
        """End it."""
        self.sever()
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _peer = self._listener.accept()
                if not self._is_whole:
                    near.close()
                    continue
                far = socket.create_connection(self._goal, 5)
                self._open += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=_pump, args=(source, sink), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for one in (source, sink):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


@contextmanager
def line_to(host: str, port: int) -> Iterator[Line]:
    """Yield a line to a server."""
    made = Line(host, port)
    try:
        yield made
    finally:
        made.close()
