# SPDX-License-Identifier: Apache-2.0
"""Takes files off standard input into a store by content; run on the host as `python3 -c <this text> <folder>`.

What comes: for each file a line of JSON, `{"sha256", "size", "offset", "length"}`, and `length` bytes that belong at
`offset`; at the end the line `{}`. What has come of a file is kept in `<sha256>.part` and hashed while it is written;
a whole file with its sum gets its name in one move, one with another sum is deleted. One line of JSON is the answer:
`{"taken": [sha256], "problem": null | {"error_key", "message", "sha256"}}`.
"""

import errno
import fcntl
import hashlib
import json
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor

PIECE = 1 << 20
# The sender went away without a word when nothing comes for so long; whoever comes next waits a little longer.
IDLE_SECONDS = 25
LOCK_SECONDS = 35


class Problem(Exception):
    def __init__(self, error_key, message, sha256=""):
        super().__init__(message)
        self.told = {"error_key": error_key, "message": message, "sha256": sha256}


class Source:
    """Standard input, read without waiting for ever."""

    def __init__(self, descriptor):
        self._file = os.fdopen(descriptor, "rb", buffering=0, closefd=False)
        self._kept = b""
        signal.signal(signal.SIGALRM, _nothing_came)

    def line(self):
        while b"\n" not in self._kept:
            if len(self._kept) > PIECE:
                raise Problem("internal_error", "no line comes")
            signal.alarm(IDLE_SECONDS)
            more = self._file.read(65536)
            if not more:
                raise Problem("ssh_unreachable", "the transfer was cut")
            self._kept += more
        line, _newline, self._kept = self._kept.partition(b"\n")
        return json.loads(line.decode())

    def fill(self, view):
        """Fill a buffer; answers how much of it, less only where the transfer was cut."""
        count = min(len(view), len(self._kept))
        view[:count] = self._kept[:count]
        self._kept = self._kept[count:]
        signal.alarm(IDLE_SECONDS)
        while count < len(view):
            # A connection gives little at a time: what is done for each such bit costs more than copying it.
            more = self._file.readinto(view[count:])
            if not more:
                break
            count += more
        return count


def _nothing_came(_number, _frame):
    raise Problem("ssh_unreachable", "nothing came for %d seconds" % IDLE_SECONDS)


def receive(folder, descriptor):
    source = Source(descriptor)
    taken = []
    try:
        while True:
            head = source.line()
            if not head:
                return {"taken": taken, "problem": None}
            if take(folder, head, source):
                taken.append(head["sha256"])
    except Problem as problem:
        return {"taken": taken, "problem": problem.told}
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        told = {
            "error_key": "storage_full" if full else "preflight_failed",
            "message": str(error),
            "sha256": "",
        }
        return {"taken": taken, "problem": told}


def take(folder, head, source):
    """Write one piece of a file; says whether the file is whole now."""
    goal = os.path.join(folder, head["sha256"])
    part = goal + ".part"
    ends = head["offset"] + head["length"] == head["size"]
    running = hashlib.sha256()
    with open(part, "r+b" if head["offset"] else "wb", buffering=0) as file:
        if ends:
            _hash_before(file, head, running)
        # Whoever wrote there before may have come further after the question how far that was.
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


def _hash_before(file, head, running):
    left = head["offset"]
    while left:
        piece = file.read(min(left, PIECE))
        if not piece:
            raise Problem("artifact_checksum_mismatch", "what was there before is gone", head["sha256"])
        running.update(piece)
        left -= len(piece)


def _write(file, length, source, look_at, hashing):
    buffers = [memoryview(bytearray(min(PIECE, length))) for _ in range(2)]
    looked = [None, None]
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


def main(folder):
    with open(os.path.join(folder, ".lock"), "w") as lock:
        until = time.time() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.time() > until:
                    told = {
                        "error_key": "resource_locked",
                        "message": "another delivery is under way",
                        "sha256": "",
                    }
                    return {"taken": [], "problem": told}
                time.sleep(0.2)
        return receive(folder, sys.stdin.fileno())


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
