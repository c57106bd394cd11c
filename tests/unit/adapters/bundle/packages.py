# SPDX-License-Identifier: Apache-2.0
"""Debian packages for tests: `ar` around tars, as dpkg-deb writes them."""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
from pathlib import Path

import zstandard

PACKED = {
    "xz": lzma.compress,
    "gz": gzip.compress,
    "zst": zstandard.ZstdCompressor().compress,
    "": lambda content: content,
}


def deb(
    path: Path,
    files: dict[str, bytes | str],
    name: str = "runc",
    version: str = "1.1.5+ds1-1",
    architecture: str = "amd64",
    packed: str = "xz",
) -> Path:
    """Write a package; a content that is text makes a symbolic link to it."""
    control = f"Package: {name}\nVersion: {version}\nArchitecture: {architecture}\nDescription: a\n  b: c\n"
    suffix = f".{packed}" if packed else ""
    members = {
        "debian-binary": b"2.0\n",
        f"control.tar{suffix}": PACKED[packed](_tar({"./control": control.encode()})),
        f"data.tar{suffix}": PACKED[packed](_tar({f"./{path}": content for path, content in files.items()})),
    }
    path.write_bytes(b"!<arch>\n" + b"".join(_member(*one) for one in members.items()))
    return path


def _member(name: str, content: bytes) -> bytes:
    head = f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode()
    return head + content + b"\n" * (len(content) % 2)


def _tar(files: dict[str, bytes] | dict[str, bytes | str]) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.mode = 0o755
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return data.getvalue()
