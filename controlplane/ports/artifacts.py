# SPDX-License-Identifier: Apache-2.0
"""Image archives by content."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol


@dataclass(frozen=True)
class StoredArtifact:
    """One archive in the store. `image_ids` are config digests, `references` the tags found inside."""

    digest: str
    size: int
    media: str
    image_ids: tuple[str, ...]
    references: tuple[str, ...]
    is_new: bool


class ArtifactStore(Protocol):
    """Content-addressed: the name of an archive is `sha256:` and the digest of its bytes."""

    def put(self, stream: BinaryIO, expected_digest: str | None, max_bytes: int) -> StoredArtifact:
        """Stream an archive in, hashing on the way; keep it under its digest, once.

        Raises:
            Problem: `artifact_checksum_mismatch`, `validation_error` (not an image archive), `payload_too_large`,
                `storage_full`. Nothing is left behind.
        """
        ...

    def path(self, digest: str) -> Path:
        """Return a local file with this content.

        Raises:
            Problem: `artifact_missing`.
        """
        ...

    def open(self, digest: str) -> BinaryIO:
        """Open the content for reading. Raises Problem `artifact_missing`."""
        ...

    def digests(self) -> Iterator[str]:
        """Yield the digest of each archive kept."""
        ...

    def delete(self, digest: str, idle_seconds: float = 0) -> int:
        """Remove one archive and return the bytes freed; 0 when it was not there, or was put less than
        `idle_seconds` ago: whoever put it may not have written yet what it is for."""
        ...
