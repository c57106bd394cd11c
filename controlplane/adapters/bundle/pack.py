# SPDX-License-Identifier: Apache-2.0
"""A bundle as one file, or several: a tar with nothing but plain files in it, compressed with zstd."""

from __future__ import annotations

import io
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, cast

import zstandard

from controlplane.adapters.bundle import rules
from controlplane.domain.errors import Problem

PIECE = 1 << 20
LEVEL = 6
MOST_BYTES = 200_000_000_000
_WINDOW_BYTES = 1 << 27
_FIRST_PART = re.compile(r"(.+)\.001\Z")


def pack(
    folder: Path, goal: Path, trusted: Sequence[bytes], split: int | None, said: Callable[[int], None]
) -> list[Path]:
    """Write a bundle without faults into `goal`, or `goal`.001 and so on with `split` bytes each; return the files.

    The same bundle gives the same bytes. Nothing is left when it fails.

    Raises:
        Problem: the bundle has faults.
        FileExistsError: there is such a file already.
    """
    found = _whole(folder, trusted)
    paths = rules.part("bundle_path")
    # What tells whether the rest is worth reading comes first.
    order = sorted(
        found.files, key=lambda path: (path not in (paths.SUMS, paths.SIGNATURE), path != paths.INDEX, path)
    )
    modes = {one["path"]: int(one.get("mode", "0644"), 8) for one in found.index["artifacts"]}
    with _Parts(goal, split) as parts:
        compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True, threads=os.cpu_count() or 1)
        with compressor.stream_writer(cast(IO[bytes], parts), closefd=False) as packed:
            with tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT, bufsize=PIECE) as tar:
                for path in order:
                    _add(
                        tar,
                        folder,
                        path,
                        0o755 if path.startswith("hooks/") else modes.get(path, 0o644),
                        said,
                    )
        return parts.finish()


def unpack(source: Path, folder: Path, trusted: Sequence[bytes], said: Callable[[int], None]) -> Any:
    """Unpack into a folder that is not there yet; return its inspection. It appears whole and verified, or not at all.

    `source` is the one file, or the first of several (`.001`).

    Raises:
        Problem: `bundle_index_invalid` when it is no packed bundle, `artifact_unlisted` for a link, a device, or a
            name that leaves the folder, `artifact_missing` when a part is missing, or the bundle's own faults.
        FileExistsError: the folder is there.
    """
    if folder.exists() or folder.is_symlink():
        raise FileExistsError(f"{folder} exists")
    folder.parent.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.unpacking-"))
    try:
        _extract(source, making, said)
        found = _whole(making, trusted)
        making.chmod(0o755)
        making.rename(folder)
    except BaseException:
        shutil.rmtree(making, ignore_errors=True)
        raise
    return found


def _whole(folder: Path, trusted: Sequence[bytes]) -> Any:
    found = rules.part("inspection").inspect(str(folder), trusted)
    if found.faults:
        told = rules.part("fault").summary(found.faults)
        raise Problem(found.faults[0].key, told, extra={"faults": [one.document() for one in found.faults]})
    return found


def _add(tar: tarfile.TarFile, folder: Path, path: str, mode: int, said: Callable[[int], None]) -> None:
    with open(rules.part("folder").opened(str(folder), path), "rb") as content:
        member = tarfile.TarInfo(path)
        member.size, member.mode = os.fstat(content.fileno()).st_size, mode
        tar.addfile(member, content)
    said(member.size)


def _extract(source: Path, folder: Path, said: Callable[[int], None]) -> None:
    problem = rules.part("bundle_path").problem
    seen: set[str] = set()
    total = 0
    try:
        with _Joined(source) as joined:
            reader = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES).stream_reader(
                cast(IO[bytes], joined)
            )
            with tarfile.open(fileobj=cast(IO[bytes], reader), mode="r|", bufsize=PIECE) as tar:
                for member in tar:
                    why = _refused(member) or problem(member.name)
                    if why or member.name in seen:
                        shown = rules.part("bundle_path").printable(member.name)
                        raise Problem("artifact_unlisted", f"{shown} {why or 'is there twice'}")
                    seen.add(member.name)
                    total += member.size
                    if total > MOST_BYTES or len(seen) > rules.part("folder").MOST_FILES:
                        raise Problem("bundle_index_invalid", f"{source.name} holds more than a bundle may")
                    _require_room(folder, member.size)
                    _write(tar, member, folder)
                    said(member.size)
    except (tarfile.TarError, zstandard.ZstdError, EOFError) as error:
        raise Problem(
            "bundle_index_invalid", f"{source.name} is no packed bundle, or is cut: {error}",
            hint="Name the file that `tidegate bundle pack` wrote, or the first part of it, .001.",
        ) from None  # fmt: skip


def _refused(member: tarfile.TarInfo) -> str | None:
    if member.isfile():
        return "is sparse" if member.issparse() else None
    return "is a link" if member.issym() or member.islnk() else "is no plain file"


def _require_room(folder: Path, size: int) -> None:
    if shutil.disk_usage(folder).free < size:
        raise Problem("storage_full", f"no room for {size} bytes more in {folder.parent}")


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    goal = folder / member.name
    goal.parent.mkdir(parents=True, exist_ok=True)
    content = cast(IO[bytes], tar.extractfile(member))
    # Neither who owns it nor odd bits come along: a file can be run, or not.
    mode = 0o755 if member.mode & 0o100 else 0o644
    with os.fdopen(os.open(goal, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        shutil.copyfileobj(content, file, PIECE)


class _Parts(io.RawIOBase):
    """A file to write to, or several of at most `split` bytes; named as they should only when all is written."""

    def __init__(self, goal: Path, split: int | None) -> None:
        super().__init__()
        self._goal, self._split = goal, split
        self._made: list[Path] = []
        self._file: IO[bytes] | None = None
        self._left = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data)
        written = 0
        while written < len(view):
            if self._file is None or (self._split is not None and not self._left):
                self._next()
            assert self._file
            step = len(view) - written if self._split is None else min(self._left, len(view) - written)
            self._file.write(view[written : written + step])
            written, self._left = written + step, self._left - step
        return written

    def finish(self) -> list[Path]:
        """Give the files their names, and return them."""
        self._end()
        finished = []
        for making in self._made:
            goal = making.with_name(making.name.removesuffix(".making"))
            making.rename(goal)
            finished.append(goal)
        self._made = []
        return finished

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        for making in self._made:
            making.unlink(missing_ok=True)

    def _next(self) -> None:
        self._end()
        name = self._goal.name if self._split is None else f"{self._goal.name}.{len(self._made) + 1:03}"
        if (self._goal.parent / name).exists():
            raise FileExistsError(f"{self._goal.parent / name} exists")
        making = self._goal.parent / f"{name}.making"
        self._file, self._left = making.open("wb"), self._split or 0
        self._made.append(making)

    def _end(self) -> None:
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None


class _Joined(io.RawIOBase):
    """The bytes of a file and, when its name ends with `.001`, of all that follow it."""

    def __init__(self, first: Path) -> None:
        super().__init__()
        match = _FIRST_PART.match(first.name)
        self._base = match[1] if match else None
        self._folder, self._number = first.parent, 1
        self._file: IO[bytes] = first.open("rb")

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while not (piece := self._file.read(size)) and self._base is not None:
            self._number += 1
            following = self._folder / f"{self._base}.{self._number:03}"
            if not following.is_file():
                break
            self._file.close()
            self._file = following.open("rb")
        return piece

    def close(self) -> None:
        self._file.close()
        super().close()
