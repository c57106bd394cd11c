# SPDX-License-Identifier: Apache-2.0
"""Image archives of a worker on another machine: fetched by digest from the server, kept here while there is room."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import httpx

from controlplane.adapters.artifacts.folder import FolderArtifacts
from controlplane.domain.errors import Problem
from controlplane.ports.artifacts import StoredArtifact

# A run may open an archive long after it asked for it; none takes longer than this.
_IN_USE_SECONDS = 6 * 3600


class HttpArtifacts:
    """A store whose misses are fetched from `GET <base_url>/api/v1/artifacts/<digest>/content`.

    What arrives is kept only when it has the digest that was asked for. When more than `cache_bytes` are kept, those
    go that were asked for longest ago, but none that a run of the last hours may still use.
    """

    def __init__(
        self,
        base_url: str,
        token: str,
        cache_root: Path,
        max_bytes: int = 8_000_000_000,
        cache_bytes: int = 32_000_000_000,
    ) -> None:
        self._cache = FolderArtifacts(cache_root)
        self._max_bytes = max_bytes
        self._cache_bytes = cache_bytes
        self._client = httpx.Client(
            base_url=base_url.rstrip("/"),
            # Not to be unpacked on the way: the digest is of the bytes as they are kept.
            headers={"Authorization": f"Bearer {token}", "Accept-Encoding": "identity"},
            timeout=httpx.Timeout(30.0),
        )
        self._locks: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()

    def put(self, stream: BinaryIO, expected_digest: str | None, max_bytes: int) -> StoredArtifact:
        """Keep an archive on this machine only; errors as of `FolderArtifacts.put`."""
        return self._cache.put(stream, expected_digest, max_bytes)

    def path(self, digest: str) -> Path:
        """Return a local file with this content, fetching it when it is not here.

        Raises:
            Problem: `artifact_missing` (the server has none, or does not give it), `artifact_checksum_mismatch`,
                `storage_full`.
        """
        with self._turn(digest):
            try:
                self._cache.touch(digest)
            except Problem:
                self._fetch(digest)
                self._make_room()
            return self._cache.path(digest)

    def open(self, digest: str) -> BinaryIO:
        """Open an archive for reading, fetching it when it is not here. Errors as of `path`."""
        return self.path(digest).open("rb")

    def digests(self) -> Iterator[str]:
        """Yield the digest of each archive that is here."""
        return self._cache.digests()

    def delete(self, digest: str, idle_seconds: float = 0) -> int:
        """Remove one archive from this machine and return the bytes freed; see `FolderArtifacts.delete`."""
        return self._cache.delete(digest, idle_seconds)

    def close(self) -> None:
        """Give back the connections."""
        self._client.close()

    def _turn(self, digest: str) -> threading.Lock:
        with self._guard:
            return self._locks.setdefault(digest, threading.Lock())

    def _make_room(self) -> None:
        """Remove what was asked for longest ago until no more than `cache_bytes` are kept."""
        kept = sorted(self._cache.usage(), key=lambda archive: archive[2])
        over = sum(size for _digest, size, _used in kept) - self._cache_bytes
        for digest, _size, _used in kept:
            if over <= 0:
                return
            over -= self._cache.delete(digest, _IN_USE_SECONDS)

    def _fetch(self, digest: str) -> None:
        try:
            with self._client.stream("GET", f"/api/v1/artifacts/{digest}/content") as answer:
                if answer.status_code != httpx.codes.OK:
                    raise Problem(
                        "artifact_missing",
                        f"the server answered {answer.status_code} for archive {digest[:80]}",
                        extra={"digest": digest[:80]},
                    )
                self._cache.put(cast(BinaryIO, _Body(answer.iter_raw())), digest, self._max_bytes)
        except httpx.HTTPError as error:
            raise Problem(
                "artifact_missing",
                f"archive {digest[:80]} could not be fetched from the server: {type(error).__name__}",
                hint="Check artifact_url and the network between worker and server.",
                extra={"digest": digest[:80]},
            ) from None


class _Body:
    """A response body as a file to read from."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes; b'' at the end."""
        if not self._rest:
            self._rest = next(self._pieces, b"")
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece
