# SPDX-License-Identifier: Apache-2.0
"""Artifacts from the addresses that the index names: taken up again after a cut, checked, put in place whole."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx

from controlplane.adapters.bundle import index_file
from controlplane.domain.errors import Problem

PIECE = 1 << 20
MOST_BYTES = 20_000_000_000
MOST_REDIRECTS = 5
# Seconds to wait after each try that brought nothing; a try that brought something starts the list anew.
PATIENCE = (0.5, 1, 2, 4, 8)
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)\Z")
_REDIRECTS = (301, 302, 303, 307, 308)


class Fetcher:
    """Fetches artifacts of one bundle. What is half there lies beside the bundle, in `<folder>.partial`."""

    def __init__(
        self, folder: Path, *, unlocked: bool = False, patience: tuple[float, ...] = PATIENCE
    ) -> None:
        # A folder that is called `.` has nothing beside it.
        folder = folder.resolve()
        self._folder, self._unlocked, self._patience = folder, unlocked, patience
        self._partial = folder.with_name(folder.name + ".partial")
        self._client = httpx.Client(
            # Not to be unpacked on the way: the sum is of the bytes as they are kept.
            headers={"Accept-Encoding": "identity", "User-Agent": "tidegate"},
            timeout=httpx.Timeout(30.0),
            follow_redirects=False,
        )

    def close(self) -> None:
        """Give back the connections, and the folder of what is half there when it is empty."""
        self._client.close()
        try:
            self._partial.rmdir()
        except OSError:
            pass

    def fetch(self, artifact: Mapping[str, Any], said: Callable[[int], None]) -> dict[str, Any]:
        """Bring one artifact; return what was done: `id`, `bytes`, `resumed_at`. `said` is told of bytes that came.

        Raises:
            Problem: `artifact_missing` when it cannot be had, `artifact_checksum_mismatch` when it is another one,
                `bundle_index_invalid` when the index has no sum of it (unless `unlocked`), `storage_full`.
        """
        if "sha256" not in artifact and not self._unlocked:
            raise Problem(
                "bundle_index_invalid",
                f"{artifact['id']} has no sha256 in the index: what comes could not be checked",
                hint="Write its sum into the index, or say --unlocked and check it yourself before you lock.",
            )
        url = artifact["source"]["url"]
        self._partial.mkdir(mode=0o755, exist_ok=True)
        name = hashlib.sha256(f"{url}\0{artifact.get('sha256', '')}".encode()).hexdigest()[:32]
        download = _Download(self._client, url, self._partial / name, artifact, said)
        download.run(self._patience)
        goal = index_file.place(self._folder, artifact["path"])
        os.chmod(download.file, int(artifact.get("mode", "0644"), 8))
        os.replace(download.file, goal)
        download.about.unlink(missing_ok=True)
        return {"id": artifact["id"], "bytes": download.size, "resumed_at": download.resumed_at}


class _Download:
    """One file on its way. `about` remembers which version of it the half that is there belongs to."""

    def __init__(
        self,
        client: httpx.Client,
        url: str,
        file: Path,
        artifact: Mapping[str, Any],
        said: Callable[[int], None],
    ) -> None:
        self.file, self.about = file, file.with_name(file.name + ".about")
        self._client, self._url, self._said, self._artifact = client, url, said, artifact
        self.size = self.resumed_at = 0
        self._running = hashlib.sha256()

    def run(self, patience: tuple[float, ...]) -> None:
        self._take_up()
        self.resumed_at = self.size
        wanted = self._artifact.get("sha256")
        if wanted and self._running.hexdigest() == wanted:
            # It was cut between its last byte and its place.
            return
        tries = 0
        while True:
            before = self.size
            try:
                self._once()
                break
            except (httpx.TransportError, httpx.ProtocolError, _Cut) as error:
                tries = 0 if self.size > before else tries + 1
                if tries >= len(patience):
                    raise self._problem(
                        "artifact_missing",
                        f"cannot be fetched: {type(error).__name__}; run it again to go on",
                    ) from None
                time.sleep(patience[tries])
        if wanted and self._running.hexdigest() != wanted:
            self._forget()
            raise self._problem("artifact_checksum_mismatch", "came with another content than the index says")

    def _take_up(self) -> None:
        """Go on with what a run before this one left."""
        if not self.file.is_file():
            return
        with self.file.open("rb") as file:
            while piece := file.read(PIECE):
                self._running.update(piece)
                self.size += len(piece)
        self._said(self.size)

    def _once(self) -> None:
        url = self._url
        for _ in range(MOST_REDIRECTS + 1):
            with self._client.stream("GET", url, headers=self._wanted()) as answer:
                if answer.status_code in _REDIRECTS:
                    url = self._next(answer)
                    continue
                self._take(answer)
                return
        raise self._problem("artifact_missing", f"has more than {MOST_REDIRECTS} redirects")

    def _wanted(self) -> dict[str, str]:
        if not self.size:
            return {}
        version = self._version()
        if not version and "sha256" not in self._artifact:
            # Two versions could be mixed and nothing would tell.
            self._restart()
            return {}
        return {"Range": f"bytes={self.size}-", **({"If-Range": version} if version else {})}

    def _next(self, answer: httpx.Response) -> str:
        goal = answer.url.join(answer.headers.get("location", ""))
        if goal.scheme not in ("http", "https") or (answer.url.scheme == "https" and goal.scheme != "https"):
            raise self._problem("artifact_missing", f"is redirected to {goal.scheme}, which is less safe")
        return str(goal)

    def _take(self, answer: httpx.Response) -> None:
        status = answer.status_code
        if status == 416:
            self._restart()
            raise _Cut
        if status >= 500 or status == 429:
            raise _Cut
        if status not in (200, 206):
            raise self._problem("artifact_missing", f"cannot be fetched: the server answered {status}")
        if status == 206:
            match = _RANGE.match(answer.headers.get("content-range", ""))
            if not match or int(match[1]) != self.size:
                self._restart()
                raise _Cut
        elif self.size:
            self._restart()
        length = answer.headers.get("content-length", "")
        end = self.size + int(length) if length.isdigit() else None
        self._require_room(end)
        if not self.size:
            self._remember(answer)
        with self.file.open("ab") as file:
            for piece in answer.iter_raw():
                file.write(piece)
                self._running.update(piece)
                self.size += len(piece)
                self._said(len(piece))
                if self.size > self._artifact.get("size", MOST_BYTES):
                    self._forget()
                    raise self._problem("artifact_checksum_mismatch", "is larger than the index says")
            file.flush()
            os.fsync(file.fileno())
        if end is not None and self.size < end:
            raise _Cut

    def _require_room(self, end: int | None) -> None:
        need = (end or self._artifact.get("size", 0)) - self.size
        free = shutil.disk_usage(self.file.parent).free
        if free < need:
            raise self._problem("storage_full", f"needs {need} bytes more, {free} are free")

    def _remember(self, answer: httpx.Response) -> None:
        tag = answer.headers.get("etag", "")
        # A weak tag promises no equal bytes.
        version = tag if tag and not tag.startswith("W/") else answer.headers.get("last-modified", "")
        self.about.write_text(json.dumps({"url": self._url, "version": version}))

    def _version(self) -> str:
        try:
            return str(json.loads(self.about.read_text())["version"])
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def _restart(self) -> None:
        self._said(-self.size)
        self.size = self.resumed_at = 0
        self._running = hashlib.sha256()
        self._forget()

    def _forget(self) -> None:
        self.file.unlink(missing_ok=True)
        self.about.unlink(missing_ok=True)

    def _problem(self, key: str, why: str) -> Problem:
        return Problem(key, f"{self._artifact['id']} {why} ({httpx.URL(self._url).host})")


class _Cut(Exception):
    """The answer ended before the file did, or is to be asked for again."""
