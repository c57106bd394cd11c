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
import select
import sys
import time

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
        self._descriptor = descriptor
        self._kept = b""

    def line(self):
        while b"\n" not in self._kept:
            if len(self._kept) > PIECE:
                raise Problem("internal_error", "no line comes")
            more = self._more(65536)
            if not more:
                raise Problem("ssh_unreachable", "the transfer was cut")
            self._kept += more
        line, _newline, self._kept = self._kept.partition(b"\n")
        return json.loads(line.decode())

    def pieces(self, length):
        while length:
            piece = self._kept[:length]
            if piece:
                self._kept = self._kept[length:]
            else:
                piece = self._more(min(length, PIECE))
                if not piece:
                    raise Problem("ssh_unreachable", "the transfer was cut")
            length -= len(piece)
            yield piece

    def _more(self, size):
        if not select.select([self._descriptor], [], [], IDLE_SECONDS)[0]:
            raise Problem("ssh_unreachable", "nothing came for %d seconds" % IDLE_SECONDS)
        return os.read(self._descriptor, size)


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
            left = head["offset"]
            while left:
                piece = file.read(min(left, PIECE))
                if not piece:
                    raise Problem(
                        "artifact_checksum_mismatch", "what was there before is gone", head["sha256"]
                    )
                running.update(piece)
                left -= len(piece)
        # Whoever wrote there before may have come further after the question how far that was.
        file.truncate(head["offset"])
        file.seek(head["offset"])
        for piece in source.pieces(head["length"]):
            view = memoryview(piece)
            while view:
                view = view[file.write(view) :]
            if ends:
                running.update(piece)
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
