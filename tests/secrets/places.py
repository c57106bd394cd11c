# SPDX-License-Identifier: Apache-2.0
"""Everywhere that Tidegate writes or answers, as bytes: its files, its API, the hosts, the process list."""

from __future__ import annotations

import base64
import json
import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from tests.lab import LabHost
from tests.secrets.canary import Canaries, Finding

MOST_BYTES = 64 << 20
HOST_FOLDERS = (
    "/var/lib/tidegate",
    "/tmp",
    "/var/tmp",
    "/dev/shm",
    "/run/user",
    "/root",
    "/home",
    "/var/log",
)
READ_HOST = """
import base64, json, os, stat, sys
found = {}
for top in sys.argv[1:]:
    for folder, _, names in os.walk(top):
        for name in names:
            path = os.path.join(folder, name)
            known = os.lstat(path)
            if stat.S_ISREG(known.st_mode) and known.st_size < 64 << 20:
                with open(path, "rb") as file:
                    found[path] = [stat.S_IMODE(known.st_mode), base64.b64encode(file.read()).decode()]
print(json.dumps(found))
"""
_PARAMETER = re.compile(r"\{(\w+)\}")


def files(*tops: Path, besides: tuple[Path, ...] = (), since: float = 0) -> Iterator[tuple[str, bytes]]:
    """Yield what lies below folders and was written after `since` (seconds since the epoch), names included."""
    for top in tops:
        for folder, _, names in os.walk(top):
            for name in names:
                path = Path(folder, name)
                try:
                    known = path.lstat()
                    if path in besides or known.st_mtime < since or known.st_size > MOST_BYTES:
                        continue
                    if path.is_file() and not path.is_symlink():
                        yield f"file {path}", os.fsencode(path) + path.read_bytes()
                except OSError:
                    # Others work in these folders, too.
                    continue


def host_files(host: LabHost) -> dict[str, tuple[int, bytes]]:
    """Return mode and content of what lies on a host where Tidegate or Ansible could have put it.

    Not what its engine keeps: Docker writes the environment of containers and their output below its own folder.
    """
    told = host.exec(["python3", "-", *HOST_FOLDERS], input=READ_HOST).stdout
    return {path: (mode, base64.b64decode(content)) for path, (mode, content) in json.loads(told).items()}


class Answers:
    """Asks every GET route of the API, for every id that its lists name."""

    def __init__(self, url: str, token: str) -> None:
        self._http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=30)
        document = self._http.get("/api/v1/openapi.json").json()
        self._routes = {path: of["get"] for path, of in document["paths"].items() if "get" in of}
        self._lists: dict[str, list[Any]] = {}
        self.unasked = set(self._routes)

    def all(self) -> Iterator[tuple[str, bytes]]:
        """Yield all answers; `unasked` are then the routes for which there was nothing to ask about."""
        for template in sorted(self._routes):
            for path in self._paths(template):
                yield from self._pages(template, path)
                self.unasked.discard(template)
        for path in ("/metrics", "/healthz", "/readyz"):
            yield f"GET {path}", self._http.get(path).content

    def _paths(self, template: str) -> list[str]:
        """Fill a path's parameters with what the list before each of them has."""
        match = _PARAMETER.search(template)
        if match is None:
            return [template]
        items = self._items(template[: match.start()].rstrip("/"))
        # By what an item is named in paths: most lists call it `id`, some as the path does.
        names = [next(key for key in (match[1], "ticket", "id") if key in item) for item in items]
        named = [str(item[key]) for key, item in zip(names, items, strict=True)]
        rest = template[match.end() :]
        return [path for one in named for path in self._paths(template[: match.start()] + one + rest)]

    def _items(self, path: str) -> list[Any]:
        if path not in self._lists:
            query = {"view": "all"} if path.endswith("/inbox") else {}
            self._lists[path] = self._http.get(path, params={"limit": 200, **query}).json()["items"]
        return self._lists[path]

    def _pages(self, template: str, path: str) -> Iterator[tuple[str, bytes]]:
        if template.endswith("/stream"):
            yield f"GET {path}", self._stream(path)
            return
        taken = {one["name"] for one in self._routes[template].get("parameters", []) if "name" in one}
        query: dict[str, Any] = {"limit": 200} if "limit" in taken else {}
        while True:
            answer = self._http.get(path, params=query)
            assert answer.status_code in (200, 304), (path, answer.status_code, answer.text[:300])
            yield f"GET {path}", str(answer.headers).encode() + answer.content
            following = answer.json().get("next") if "limit" in taken else None
            if following is None:
                return
            query["cursor" if "cursor" in taken else "after"] = following

    def _stream(self, path: str) -> bytes:
        """Return what a stream has to tell from the beginning; one that does not end is left after a quiet second."""
        told = b""
        headers = {"Last-Event-ID": "0"}
        try:
            with self._http.stream("GET", path, headers=headers, timeout=httpx.Timeout(10, read=1)) as answer:
                assert answer.status_code == 200, path
                for part in answer.iter_raw():
                    told += part
        except httpx.ReadTimeout:
            pass
        return told


class ProcessWatch:
    """Looks again and again at every command line, and at the environments of this machine's own processes.

    The lab's hosts are namespaces of this machine, so their processes are among those whose command lines are seen.
    """

    EVERY_SECONDS = 0.03

    def __init__(self, canaries: Canaries) -> None:
        self._canaries = canaries
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._here = os.readlink("/proc/self/ns/pid")
        self.found: set[Finding] = set()
        self.programs: set[str] = set()

    def __enter__(self) -> ProcessWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.is_set():
            for pid in filter(str.isdigit, os.listdir("/proc")):
                if int(pid) != os.getpid():
                    self._look_at(Path("/proc", pid))
            time.sleep(self.EVERY_SECONDS)

    def _look_at(self, process: Path) -> None:
        try:
            line = (process / "cmdline").read_bytes()
            self.programs |= {
                os.path.basename(part.decode("utf-8", "replace")) for part in line.split(b"\0")[:2]
            }
            self.found |= self._canaries.seen("a command line", line)
            if os.readlink(process / "ns/pid") == self._here:
                environment = (process / "environ").read_bytes()
                self.found |= self._canaries.seen("an environment", environment)
        except OSError:
            # It has ended meanwhile.
            return
