# SPDX-License-Identifier: Apache-2.0
"""What passes on the lines of machines that stand behind a virtual IP: who is sent to, and who sends on."""

from __future__ import annotations

import socket
import struct
import threading
from collections import Counter
from collections.abc import Mapping
from types import TracebackType

_ALL, _IP, _TCP = 3, b"\x08\x00", 6
_SYN, _ACK = 0x02, 0x10
_ROOM = 8 << 20


class Wire:
    """Counts packets to a TCP port of an address on the lines of machines, while it is entered.

    `taken`: first packets of connections (SYN) that reached a machine, by machine and by the hardware address that
    sent them. `sent`: packets to the address that a machine itself sent, so those that it handed on.
    """

    def __init__(self, lines: Mapping[str, str], address: str, port: int) -> None:
        """Args: lines: the network interface of this machine at which each other machine is."""
        self._lines = lines
        self._to = socket.inet_aton(address) + struct.pack("!H", port)
        self._done = threading.Event()
        self._threads: list[threading.Thread] = []
        self.taken: Counter[tuple[str, str]] = Counter()
        self.sent: Counter[str] = Counter()

    def __enter__(self) -> Wire:
        for name, interface in self._lines.items():
            line = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL))
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _ROOM)
            line.bind((interface, 0))
            line.settimeout(0.2)
            thread = threading.Thread(target=self._listen, args=(name, line), daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def to(self, machine: str) -> int:
        """How many connections a machine was sent first packets of, by whomever."""
        return sum(count for (name, _sender), count in self.taken.items() if name == machine)

    def _listen(self, name: str, line: socket.socket) -> None:
        with line:
            while not self._done.is_set():
                try:
                    frame, source = line.recvfrom(2048)
                except TimeoutError:
                    continue
                if frame[12:14] != _IP or frame[23] != _TCP:
                    continue
                tcp = 14 + (frame[14] & 15) * 4
                if frame[30:34] + frame[tcp + 2 : tcp + 4] != self._to:
                    continue
                if source[2] != socket.PACKET_OUTGOING:
                    self.sent[name] += 1
                elif frame[tcp + 13] & (_SYN | _ACK) == _SYN:
                    self.taken[name, frame[6:12].hex(":")] += 1
