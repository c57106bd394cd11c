# SPDX-License-Identifier: Apache-2.0
"""Image archives in a folder: `<root>/sha256/<first two digits>/<digest>`."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from controlplane.adapters.artifacts.inspect import NotAnImageArchive, inspect_archive
from controlplane.domain.errors import Problem
from controlplane.ports.artifacts import StoredArtifact

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_CHUNK = 1024 * 1024
_GOING = ".going"
_PART = ".part"


class FolderArtifacts:
    """Keeps each archive once, whole or not at all: a reader never sees half of one."""

    def __init__(self, root: Path) -> None:
        self._kept = root / "sha256"
        self._incoming = root / "incoming"
        for folder in (root, self._kept, self._incoming):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.remove_leftovers()

    def put(self, stream: BinaryIO, expected_digest: str | None, max_bytes: int) -> StoredArtifact:
        """Stream an archive in, hashing on the way; keep it under its digest, once.

        Raises:
            Problem: `artifact_checksum_mismatch`, `payload_too_large`, `validation_error` (no image archive,
                or the promise is no digest), `storage_full`. Nothing is left behind.
        """
        if expected_digest is not None and not _DIGEST.fullmatch(expected_digest):
            raise Problem(
                "validation_error", "a digest is sha256: and 64 hex digits", errors={"digest": "malformed"}
            )
        try:
            with self._part() as part:
                return self._take(part, stream, expected_digest, max_bytes)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise Problem("storage_full", "the artifact store's disk is full") from None
            raise

    def path(self, digest: str) -> Path:
        """Return the file of an archive. Raises Problem `artifact_missing`."""
        path = self._place(digest)
        if path is None or not path.is_file():
            raise _missing(digest)
        return path

    def open(self, digest: str) -> BinaryIO:
        """Open an archive for reading. Raises Problem `artifact_missing`."""
        try:
            return self.path(digest).open("rb")
        except FileNotFoundError:
            raise _missing(digest) from None

    def digests(self) -> Iterator[str]:
        """Yield the digest of each archive kept."""
        for path in sorted(self._kept.glob("??/*")):
            if _DIGEST.fullmatch(f"sha256:{path.name}"):
                yield f"sha256:{path.name}"

    def touch(self, digest: str) -> None:
        """Say that an archive is used now, which `delete` asks for. Raises Problem `artifact_missing`."""
        try:
            os.utime(self.path(digest))
        except FileNotFoundError:
            raise _missing(digest) from None

    def usage(self) -> Iterator[tuple[str, int, float]]:
        """Yield digest, bytes and time of last use (seconds since the epoch) of each archive kept."""
        for digest in self.digests():
            with suppress(Problem, FileNotFoundError):
                found = self.path(digest).stat()
                yield digest, found.st_size, found.st_mtime

    def delete(self, digest: str, idle_seconds: float = 0) -> int:
        """Remove one archive and return the bytes freed; 0 when it was not there, or was put less than
        `idle_seconds` ago."""
        path = self._place(digest)
        if path is None:
            return 0
        # Put aside, then judged: whoever puts it at this moment either finds it gone and puts it anew, or has said so
        # by its time. No lock is waited for: in a server of green threads that would stop all of them.
        aside = path.with_name(f"{path.name}.{uuid.uuid4().hex}{_GOING}")
        try:
            if time.time() - path.stat().st_mtime < idle_seconds:
                return 0
            path.rename(aside)
            found = aside.stat()
        except FileNotFoundError:
            return 0
        if time.time() - found.st_mtime < idle_seconds:
            _put_back(aside, path)
            return 0
        aside.unlink(missing_ok=True)
        return found.st_size

    def remove_leftovers(self) -> int:
        """Remove what killed uploads left; those that still run hold a lock and are left alone.

        What a killed `delete` had put aside is put back: nobody knows whether it was to go.
        """
        removed = 0
        for aside in self._kept.glob(f"??/*{_GOING}"):
            _put_back(aside, aside.with_name(aside.name.partition(".")[0]))
        for path in self._incoming.glob(f"*{_PART}"):
            with suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
                removed += 1
        return removed

    def _take(
        self, part: BinaryIO, stream: BinaryIO, expected_digest: str | None, max_bytes: int
    ) -> StoredArtifact:
        digest, size = _copy(stream, part, max_bytes)
        if expected_digest is not None and digest != expected_digest:
            raise Problem(
                "artifact_checksum_mismatch",
                f"the content has digest {digest}, not {expected_digest}",
                extra={"expected": expected_digest, "actual": digest},
            )
        part.flush()
        try:
            archive = inspect_archive(part, size)
        except NotAnImageArchive as error:
            raise Problem(
                "validation_error",
                f"not an image archive: {error}",
                hint="Send what `docker save` writes, or an OCI image layout as tar.",
                errors={"body": str(error)},
            ) from None
        os.fsync(part.fileno())
        is_new = self._keep(Path(part.name), digest)
        return StoredArtifact(digest, size, archive.media, archive.image_ids, archive.references, is_new)

    def _keep(self, part: Path, digest: str) -> bool:
        place = self._place(digest)
        if place is None:
            raise ValueError(digest)
        place.parent.mkdir(mode=0o700, exist_ok=True)
        while True:
            try:
                # A link, since it never replaces: of two uploads of one archive the second finds it there.
                os.link(part, place)
                break
            except FileExistsError:
                # It was put now, whoever put it first: `delete` asks for that.
                with suppress(FileNotFoundError):
                    os.utime(place)
                    return False
        for folder in (place.parent, self._kept):
            _sync(folder)
        return True

    @contextmanager
    def _part(self) -> Iterator[BinaryIO]:
        path = self._incoming / f"{uuid.uuid4().hex}{_PART}"
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            # By name: a file opened from a number alone would have the number for a name.
            with open(path, "w+b", opener=lambda _path, _flags: handle) as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield file
        finally:
            path.unlink(missing_ok=True)

    def _place(self, digest: str) -> Path | None:
        found = _DIGEST.fullmatch(digest)
        return self._kept / found[1][:2] / found[1] if found else None


def _copy(stream: BinaryIO, part: BinaryIO, max_bytes: int) -> tuple[str, int]:
    hasher = hashlib.sha256()
    size = 0
    while chunk := stream.read(_CHUNK):
        size += len(chunk)
        if size > max_bytes:
            raise Problem(
                "payload_too_large",
                f"the archive has more than {max_bytes} bytes",
                hint="Make the image smaller, or raise max_artifact_bytes.",
            )
        hasher.update(chunk)
        part.write(chunk)
    return "sha256:" + hasher.hexdigest(), size


def _put_back(aside: Path, place: Path) -> None:
    with suppress(FileExistsError, FileNotFoundError):
        os.link(aside, place)
    aside.unlink(missing_ok=True)


def _missing(digest: str) -> Problem:
    return Problem("artifact_missing", f"no archive {digest[:80]} is kept", extra={"digest": digest[:80]})


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
