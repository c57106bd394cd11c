# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files to a program on the host, through the connection that a task has already, without reading them into memory."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ansible.errors import AnsibleConnectionFailure

PIECE = 1 << 20
# Where a connection takes all of its input at once, it is given so much at a time.
PORTION = 32 << 20


@dataclass(frozen=True)
class Piece:
    """The bytes of a file from `offset` on, `length` of them; `size` is the whole file's."""

    path: str
    sha256: str
    size: int
    offset: int
    length: int

    def head(self) -> bytes:
        """The line that tells the receiver what comes."""
        told = {"sha256": self.sha256, "size": self.size, "offset": self.offset, "length": self.length}
        return json.dumps(told).encode() + b"\n"


def send(
    connection: Any, run: Callable[..., dict[str, Any]], pieces: list[Piece], said: Callable[[int], None]
) -> dict[str, Any]:
    """Give pieces to the program that `run(in_data=...)` starts; answers its result. `said` is told of sent bytes.

    Raises AnsibleConnectionFailure when the connection is lost.
    """
    if not hasattr(connection, "_send_initial_data"):
        return _in_portions(run, pieces, said)
    sent: list[bool] = []

    def stream(handle: Any, _in_data: bytes, process: Any) -> None:
        """Takes the place of the connection's own way, which writes one `bytes` in one go."""
        if sent:
            # The connection tries again by itself, but how far the host is by now has to be asked first.
            process.terminate()
            raise AnsibleConnectionFailure("the transfer was cut")
        sent.append(True)
        _widen(handle.fileno())
        try:
            for one in pieces:
                handle.write(one.head())
                handle.flush()
                _copy(one, handle.fileno(), said)
            handle.write(b"{}\n")
            handle.close()
        except BrokenPipeError:
            # The program ended, or ssh did: which of both, its exit code says.
            return

    connection._send_initial_data = stream
    try:
        return run(in_data=b"streamed")
    finally:
        del connection._send_initial_data


def _widen(pipe: int) -> None:
    """Let more lie in a pipe: every filling of it costs two changes of process."""
    try:
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIECE)
    except OSError:
        # No pipe, or this user has enough of them: it is slower then.
        pass


def _copy(one: Piece, goal: int, said: Callable[[int], None]) -> None:
    with open(one.path, "rb", buffering=0) as file:
        offset, left = one.offset, one.length
        while left:
            count = os.sendfile(goal, file.fileno(), offset, min(left, PIECE))
            if not count:
                raise AnsibleConnectionFailure(f"{one.path} became shorter while it was sent")
            offset, left = offset + count, left - count
            said(count)


def _in_portions(
    run: Callable[..., dict[str, Any]], pieces: list[Piece], said: Callable[[int], None]
) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for part in _parts(pieces):
        with open(part.path, "rb") as file:
            file.seek(part.offset)
            result = run(in_data=part.head() + file.read(part.length) + b"{}\n")
        said(part.length)
        if result.get("rc") != 0 or json.loads(result["stdout"].splitlines()[-1])["problem"]:
            break
    return result


def _parts(pieces: list[Piece]) -> Iterator[Piece]:
    for one in pieces:
        for start in range(0, max(1, one.length), PORTION):
            yield Piece(one.path, one.sha256, one.size, one.offset + start, min(PORTION, one.length - start))
