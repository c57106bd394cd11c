# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files to a program on the host, through the connection that a task has already, without reading them into memory.

The program says first what it has, and is sent what it lacks then: one command and one coming and going for both.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, BinaryIO

from ansible.errors import AnsibleConnectionFailure
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError

PIECE = 1 << 20
# Where a connection takes all of its input at once, it is given so much at a time.
PORTION = 32 << 20
STILL_HERE_SECONDS = 5
_END = b"{}\n"


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


# What the program says, as a JSON object, becomes the pieces that it lacks.
Lacking = Callable[[dict[str, Any]], list[Piece]]
Said = Callable[[int], None]


def send(
    connection: Any, run: Callable[..., dict[str, Any]], opening: dict[str, Any], lacking: Lacking, said: Said
) -> dict[str, Any]:
    """Give the program that `run(in_data=...)` starts the line `opening`, and what it lacks by its first answer.

    Answers its last line. `said` is told of sent bytes. Raises AnsibleConnectionFailure when the connection is lost,
    ReleaseError preflight_failed when the program does not answer, and what `lacking` raises.
    """
    line = json.dumps(opening).encode() + b"\n"
    if not hasattr(connection, "_send_initial_data"):
        return _in_portions(run, line, lacking, said)
    stream = _Stream(line, lacking, said)
    connection._send_initial_data = stream
    try:
        done = run(in_data=b"streamed")
    finally:
        del connection._send_initial_data
    if stream.refused is not None:
        raise stream.refused
    return _last(stream.heard.decode(errors="replace"), done)


class _Stream:
    """Takes the place of the connection's own way, which writes one `bytes` in one go."""

    def __init__(self, opening: bytes, lacking: Lacking, said: Said) -> None:
        self._opening, self._lacking, self._said = opening, lacking, said
        self._begun = False
        self.heard = b""
        self.refused: ReleaseError | None = None

    def __call__(self, handle: Any, _in_data: bytes, process: Any) -> None:
        if self._begun:
            # The connection tries again by itself, but how far the host is by now has to be asked first.
            process.terminate()
            raise AnsibleConnectionFailure("the transfer was cut")
        _widen(handle.fileno())
        try:
            handle.write(self._opening)
            handle.flush()
            first = self._first(process.stdout)
            if first is not None:
                self._begun = True
                self._send(handle, self._pieces(handle, first))
        except BrokenPipeError:
            # The program ended, or ssh did: which of both, its exit code says.
            pass
        except ReleaseError as error:
            # Raised from here it would be taken for a connection that failed.
            self.refused = error
        finally:
            with contextlib.suppress(BrokenPipeError):
                handle.close()

    def _first(self, stdout: Any) -> dict[str, Any] | None:
        """What the program says first; None when it ends, or refuses, without having looked."""
        waiting = select.poll()
        waiting.register(stdout, select.POLLIN | select.POLLHUP)
        self.heard = b""
        while True:
            waiting.poll()
            more = os.read(stdout.fileno(), 65536)
            self.heard += more
            for line in self.heard.split(b"\n")[:-1]:
                told = _document(line)
                if told is not None:
                    return told if "found" in told else None
            if not more:
                return None

    def _pieces(self, handle: Any, first: dict[str, Any]) -> list[Piece]:
        """What the program lacks; it is kept from giving up while that is found out."""
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(self._lacking, first)
            while True:
                try:
                    return asked.result(STILL_HERE_SECONDS)
                except TimeoutError:
                    # A program that lacks nothing has ended: what it is not sent is found out all the same.
                    with contextlib.suppress(BrokenPipeError):
                        os.write(handle.fileno(), b"\n")

    def _send(self, handle: Any, pieces: list[Piece]) -> None:
        for one in pieces:
            handle.write(one.head())
            handle.flush()
            _copy(one, handle.fileno(), self._said)
        handle.write(_END)


def _widen(pipe: int) -> None:
    """Let more lie in a pipe: every filling of it costs two changes of process."""
    try:
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIECE)
    except OSError:
        # No pipe, or this user has enough of them: it is slower then.
        pass


def _copy(one: Piece, goal: int, said: Said) -> None:
    with _opened(one.path) as file:
        offset, left = one.offset, one.length
        while left:
            count = os.sendfile(goal, file.fileno(), offset, min(left, PIECE))
            if not count:
                raise ReleaseError(
                    "artifact_checksum_mismatch", f"{one.path} became shorter while it was sent",
                    "Leave the bundle alone while it is used.",
                )  # fmt: skip
            offset, left = offset + count, left - count
            said(count)


def _opened(path: str) -> BinaryIO:
    try:
        return open(path, "rb", buffering=0)
    except OSError as error:
        raise ReleaseError("artifact_missing", f"cannot be read: {error}", "See the bundle.") from error


def _in_portions(
    run: Callable[..., dict[str, Any]], opening: bytes, lacking: Lacking, said: Said
) -> dict[str, Any]:
    done = run(in_data=opening + _END)
    first = next(filter(None, map(_document, str(done.get("stdout") or "").encode().splitlines())), None)
    result = _last("", done)
    if first is None or "found" not in first:
        return result
    for part in _parts(lacking(first)):
        with _opened(part.path) as file:
            file.seek(part.offset)
            result = _last("", run(in_data=opening + part.head() + file.read(part.length) + _END))
        said(part.length)
        if result["problem"]:
            break
    return result


def _parts(pieces: list[Piece]) -> Iterator[Piece]:
    for one in pieces:
        for start in range(0, max(1, one.length), PORTION):
            yield Piece(one.path, one.sha256, one.size, one.offset + start, min(PORTION, one.length - start))


def _last(heard: str, done: dict[str, Any]) -> dict[str, Any]:
    for line in reversed((heard + str(done.get("stdout") or "")).splitlines()):
        told = _document(line.encode())
        if told is not None and "taken" in told:
            return told
    said = str(done.get("stderr") or done.get("stdout") or "").strip()[-1000:]
    raise ReleaseError("preflight_failed", f"the host could not take the bundle: {said}", "See the host.")


def _document(line: bytes) -> dict[str, Any] | None:
    """The line as what the program says; None where something else speaks, such as a shell's greeting."""
    try:
        told = json.loads(line)
    except ValueError:
        return None
    return told if isinstance(told, dict) and ("found" in told or "taken" in told) else None
