# SPDX-License-Identifier: Apache-2.0
"""Files out of Debian packages, read without Debian's tools: `ar` around compressed tars. No script of it is run."""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import arpy
import zstandard

from controlplane.domain.errors import Problem

MOST_BYTES = 20_000_000_000
_MAGIC = b"!<arch>\n"
_CONTROL_BYTES = 1 << 20
_WINDOW_BYTES = 1 << 27
_UNREADABLE = (
    arpy.ArchiveFormatError, arpy.ArchiveAccessError, tarfile.TarError, lzma.LZMAError, gzip.BadGzipFile,
    zstandard.ZstdError, zlib.error, EOFError,
)  # fmt: skip


@dataclass(frozen=True)
class Package:
    """What a package says of itself."""

    name: str
    version: str
    architecture: str


def describe(path: Path) -> Package:
    """Return the package in a file.

    Raises:
        Problem: `artifact_missing` when it is no Debian package.
    """
    with _tar(path, b"control.tar") as tar:
        for member in tar:
            if _plain(member.name) == "control" and member.isfile():
                text = tar.extractfile(member).read(_CONTROL_BYTES).decode("utf-8", "replace")  # type: ignore[union-attr]
                fields = dict(
                    line.split(": ", 1) for line in text.splitlines() if ": " in line and line[0] != " "
                )
                try:
                    return Package(fields["Package"], fields["Version"], fields["Architecture"])
                except KeyError as error:
                    raise _no_package(path, f"its control file has no {error}") from None
    raise _no_package(path, "it has no control file")


def extract(path: Path, members: list[str], goal: Path) -> dict[str, Path]:
    """Copy members' content into the folder `goal`; return member -> file. `x/` means all plain files right in x.

    Raises:
        Problem: `artifact_missing` naming members that are not there as plain files.
    """
    found: dict[str, Path] = {}
    taken = 0
    with _tar(path, b"data.tar") as tar:
        for member in tar:
            name = _plain(member.name)
            if name not in members and name.rpartition("/")[0] + "/" not in members:
                continue
            if not member.isfile():
                # A link that a folder holds beside its files is left out; one that was asked for is not there.
                continue
            taken += member.size
            if taken > MOST_BYTES:
                raise _no_package(path, f"it holds more than {MOST_BYTES} bytes")
            file = goal / str(len(found))
            with file.open("wb") as out:
                _copy(cast(IO[bytes], tar.extractfile(member)), out.write)
            file.chmod(0o755 if member.mode & 0o111 else 0o644)
            found[name] = file
    missing = [
        one
        for one in members
        if not any(name == one or (name.startswith(one) and one[-1] == "/") for name in found)
    ]
    if missing:
        raise Problem("artifact_missing", f"{path.name} has no plain file {', '.join(missing)}")
    return found


def write_tar(files: dict[str, Path], goal: Path) -> None:
    """Write an archive with these files by their base names; the same files give the same bytes.

    Raises:
        Problem: `artifact_missing` when two files have one name.
    """
    with tarfile.open(goal, "w", format=tarfile.USTAR_FORMAT) as tar:
        by_name = sorted((name.rpartition("/")[2], file) for name, file in files.items())
        if len({name for name, _file in by_name}) != len(by_name):
            raise Problem("artifact_missing", "two files of one archive would have the same name")
        for name, file in by_name:
            member = tarfile.TarInfo(name)
            member.size, member.mode = file.stat().st_size, file.stat().st_mode & 0o777
            with file.open("rb") as content:
                tar.addfile(member, content)


@contextmanager
def _tar(path: Path, kind: bytes) -> Iterator[tarfile.TarFile]:
    try:
        with path.open("rb") as file:
            # A thin archive would have other files of this machine read.
            if file.read(len(_MAGIC)) != _MAGIC:
                raise _no_package(path, "it does not begin as one")
        with arpy.Archive(str(path)) as archive:
            archive.read_all_headers()
            name = next(
                (one for one in archive.archived_files if one.split(b".tar")[0] + b".tar" == kind), None
            )
            if name is None:
                raise _no_package(path, f"it has no {kind.decode()}")
            with tarfile.open(fileobj=_unpacked(path, name, archive.archived_files[name]), mode="r|") as tar:
                yield tar
    except _UNREADABLE as error:
        raise _no_package(path, str(error)) from None


def _unpacked(path: Path, name: bytes, content: Any) -> IO[bytes]:
    suffix = name.rpartition(b".tar")[2].rstrip(b"/ ")
    readers: dict[bytes, Callable[[Any], Any]] = {
        b"": lambda file: file,
        b".xz": lzma.open,
        b".gz": gzip.open,
        b".zst": lambda file: io.BufferedReader(
            zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES).stream_reader(
                file, read_across_frames=True
            )
        ),
    }
    if suffix not in readers:
        raise _no_package(path, f"its {name.decode('ascii', 'replace')} is compressed in another way")
    return cast(IO[bytes], readers[suffix](content))


def _copy(source: IO[bytes], write: Callable[[bytes], object]) -> None:
    while piece := source.read(1 << 20):
        write(piece)


def _plain(name: str) -> str:
    return name.removeprefix("./").removeprefix("/")


def _no_package(path: Path, why: str) -> Problem:
    return Problem("artifact_missing", f"{path.name} is no Debian package that can be read: {why}")
