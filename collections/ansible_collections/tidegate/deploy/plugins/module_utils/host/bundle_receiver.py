# SPDX-License-Identifier: Apache-2.0
"""Has what is wanted of a bundle come into a host's store; runs there, and talks over standard input and output.

What comes first is a line of JSON, `{"folder", "wanted": [{"sha256", "size"}], "rehash", "writing", "record"}`. The
answer is the line `{"found": [...], "folder"}`, of the store's look at what is there. Then comes for each file, or
piece of one, a line `{"sha256", "size", "offset", "length"}` and `length` bytes that belong at `offset`; at the end
the line `{}`; empty lines say that the sender is still there. The last line of the answer is
`{"taken": [sha256], "recorded": bool, "problem": null | {"error_key", "message", "hint", "detail", "sha256"}}`.

What has come of a file is kept in `<sha256>.part` and hashed while it is written; a whole file with its sum gets its
name in one move, one with another sum is deleted.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO, Callable, Dict, Iterator, List, Optional, Tuple

from ..release.errors import ReleaseError
from . import bundle_store, state_folder

PIECE = 1 << 20
MOST_LINE_BYTES = 16 << 20
# The sender went away without a word when nothing comes for so long; whoever comes next waits a little longer.
IDLE_SECONDS = 25
LOCK_SECONDS = 35


class Problem(Exception):
    """Why not everything came; `sha256` is the file that it is about, if any."""

    def __init__(self, error_key: str, message: str, sha256: str = "", hint: str = "", **detail: Any) -> None:
        super().__init__(message)
        self.told = {
            "error_key": error_key, "message": message, "sha256": sha256, "hint": hint, "detail": detail,
        }  # fmt: skip


class Source:
    """A descriptor, read without waiting for ever."""

    def __init__(self, descriptor: int) -> None:
        self._file = os.fdopen(descriptor, "rb", buffering=0, closefd=False)
        self._kept = b""
        signal.signal(signal.SIGALRM, _nothing_came)
        _widen(descriptor)

    def line(self) -> Dict[str, Any]:
        """The next line that is not empty, as the JSON object that it is. Raises Problem."""
        while True:
            line = self._line()
            if line:
                return dict(json.loads(line.decode()))

    def _line(self) -> bytes:
        pieces: List[bytes] = [self._kept]
        while b"\n" not in pieces[-1]:
            if sum(map(len, pieces)) > MOST_LINE_BYTES:
                raise Problem("internal_error", "no line comes")
            more = self._read(lambda: self._file.read(65536))
            if not more:
                raise Problem("ssh_unreachable", "the transfer was cut")
            pieces.append(more)
        line, _newline, self._kept = b"".join(pieces).partition(b"\n")
        return line

    def fill(self, view: memoryview) -> int:
        """Fill a buffer; answers how much of it, less only where the transfer was cut. Raises Problem."""
        count = min(len(view), len(self._kept))
        view[:count] = self._kept[:count]
        self._kept = self._kept[count:]
        return count + self._read(lambda: self._rest(view[count:]))

    def _rest(self, view: memoryview) -> int:
        count = 0
        while count < len(view):
            # A connection gives little at a time: what is done for each such bit costs more than copying it.
            more = self._file.readinto(view[count:])
            if not more:
                break
            count += more
        return count

    def _read(self, read: Callable[[], Any]) -> Any:
        # Only while it is waited for: what is done in between may take as long as it takes.
        signal.alarm(IDLE_SECONDS)
        try:
            return read()
        finally:
            signal.alarm(0)


def _nothing_came(_number: int, _frame: Any) -> None:
    raise Problem("ssh_unreachable", "nothing came for %d seconds" % IDLE_SECONDS)


def _widen(pipe: int) -> None:
    """Let more lie in a pipe: every filling of it costs two changes of process."""
    try:
        # F_SETPIPE_SZ has a name since Python 3.10 only.
        fcntl.fcntl(pipe, 1031, PIECE)
    except OSError:
        # No pipe, or this user has enough of them: it is slower then.
        pass


def serve(asked: Dict[str, Any], source: Source, say: Callable[[Dict[str, Any]], None]) -> None:
    """Look, take what comes, remember it; says both lines of the answer."""
    bundle = asked["folder"] or state_folder.path("bundle")
    folder = bundle_store.files(bundle)
    told: Dict[str, Any] = {"taken": [], "recorded": False, "problem": None}
    try:
        found = _look(bundle, asked, asked["rehash"])
        missing = [one for one in found if not one["present"]]
        if missing and asked["writing"]:
            with _alone(folder):
                # Whoever was at work here until now may have brought some of it; what was altered is gone already.
                altered = {one["sha256"] for one in found if one["altered"]}
                found = [
                    {**one, "altered": one["sha256"] in altered} for one in _look(bundle, asked, rehash=False)
                ]
                say({"found": found, "folder": folder})
                told["taken"], told["problem"] = receive(folder, source)
                bundle_store.arrived(bundle, told["taken"])
            missing = [one for one in found if not one["present"] and one["sha256"] not in told["taken"]]
        else:
            say({"found": found, "folder": folder})
        if asked["writing"] and not missing:
            told["recorded"] = bundle_store.record(bundle, asked["record"])
    except ReleaseError as error:
        told["problem"] = Problem(error.error_key, str(error), "", error.hint, **error.detail).told
    except Problem as problem:
        told["problem"] = problem.told
    except OSError as error:
        told["problem"] = _of_system(error)
    say(told)


def _look(bundle: str, asked: Dict[str, Any], rehash: bool) -> List[Dict[str, Any]]:
    found = bundle_store.look(bundle, asked["wanted"], rehash, asked["writing"])
    bundle_store.require_room(bundle, found, asked["wanted"])
    return found


def receive(folder: str, source: Source) -> Tuple[List[str], Optional[Dict[str, Any]]]:
    """Take files until the sender has no more; answers the sums of those that are whole, and what went wrong."""
    taken: List[str] = []
    try:
        while True:
            head = source.line()
            if not head:
                return taken, None
            if take(folder, head, source):
                taken.append(head["sha256"])
    except Problem as problem:
        return taken, problem.told
    except OSError as error:
        return taken, _of_system(error)


def _of_system(error: OSError) -> Dict[str, Any]:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    hint = "Free disk space on the host." if full else "See the folder on the host."
    return Problem("storage_full" if full else "preflight_failed", str(error), hint=hint).told


def take(folder: str, head: Dict[str, Any], source: Source) -> bool:
    """Write one piece of a file; says whether the file is whole now."""
    goal = os.path.join(folder, head["sha256"])
    part = goal + ".part"
    ends = head["offset"] + head["length"] == head["size"]
    running = hashlib.sha256()
    with _opened(part, head["offset"]) as file:
        if ends:
            _hash_before(file, head, running)
        # Whoever wrote there before may have come further after the question how far that was.
        if os.fstat(file.fileno()).st_size > head["offset"]:
            file.truncate(head["offset"])
        file.seek(head["offset"])
        # While one buffer is hashed, the other one is filled and written.
        with ThreadPoolExecutor(1) as hashing:
            _write(file, head["length"], source, running.update if ends else len, hashing)
    if not ends:
        return False
    if running.hexdigest() != head["sha256"]:
        os.unlink(part)
        raise Problem(
            "artifact_checksum_mismatch", "%s arrived as another file" % head["sha256"], head["sha256"]
        )
    os.chmod(part, 0o644)
    os.rename(part, goal)
    return True


def _opened(part: str, offset: int) -> BinaryIO:
    """The file that a piece is written to: what is there of it, or a new one.

    One that was cut to nothing is no new one: ext4 waits, when such a file is closed, until all of it is on its way to
    the disk (`auto_da_alloc`), and the sender with it.
    """
    if not offset:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)
    return open(part, "r+b" if offset else "xb", buffering=0)


def _hash_before(file: BinaryIO, head: Dict[str, Any], running: Any) -> None:
    left = head["offset"]
    while left:
        piece = file.read(min(left, PIECE))
        if not piece:
            raise Problem("artifact_checksum_mismatch", "what was there before is gone", head["sha256"])
        running.update(piece)
        left -= len(piece)


def _write(
    file: BinaryIO, length: int, source: Source, look_at: Callable[[memoryview], Any], hashing: Any
) -> None:
    buffers = [memoryview(bytearray(min(PIECE, length))) for _ in range(2)]
    looked: List[Any] = [None, None]
    turn = 0
    while length:
        if looked[turn]:
            looked[turn].result()
        wanted = buffers[turn][: min(PIECE, length)]
        came = source.fill(wanted)
        left = wanted[:came]
        looked[turn] = hashing.submit(look_at, left)
        while left:
            left = left[file.write(left) :]
        if came < len(wanted):
            raise Problem("ssh_unreachable", "the transfer was cut")
        length -= came
        turn = 1 - turn


@contextlib.contextmanager
def _alone(folder: str) -> Iterator[None]:
    """Keep other deliveries to this host away. Raises Problem resource_locked where one does not end."""
    with open(os.path.join(folder, ".lock"), "w") as lock:
        until = time.time() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.time() > until:
                    raise Problem("resource_locked", "another delivery is under way") from None
                time.sleep(0.2)
        yield


def main() -> None:
    """Talk with whoever started this."""
    source = Source(sys.stdin.fileno())
    try:
        asked = source.line()
    except Problem as problem:
        return _say({"taken": [], "recorded": False, "problem": problem.told})
    return serve(asked, source, _say)


def _say(line: Dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)
