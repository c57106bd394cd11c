# SPDX-License-Identifier: Apache-2.0
"""Tells whether a file is an image archive (`docker save` or an OCI layout, plain or gzipped) and what is in it.

Nothing is extracted, nothing is run, and a hostile archive costs bounded memory and time.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import posixpath
import re
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

_MAX_MEMBERS = 20_000
_MAX_HEADER_BYTES = 256 * 1024
_MAX_DOCUMENT_BYTES = 2 * 1024 * 1024
_MAX_DOCUMENTS_BYTES = 32 * 1024 * 1024
_MAX_IMAGES = 200
_MAX_INDEX_DEPTH = 4
# A bomb of zeros packs 1000 to 1; real layers, even of text, stay far below this.
_MAX_RATIO = 100
_FREE_BYTES = 64 * 1024 * 1024
_CHUNK = 64 * 1024

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_LEGACY_CONFIG = re.compile(r"([0-9a-f]{64})\.json")
_BLOB = re.compile(r"blobs/sha256/([0-9a-f]{64})")
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_GZIP_MAGIC = b"\x1f\x8b"

_DOCKER_MEDIA = "application/vnd.docker.image.archive.tar"
_OCI_MEDIA = "application/vnd.oci.image.layout.tar"


class NotAnImageArchive(Exception):
    """The file is no image archive that may be kept; the message says why."""


@dataclass(frozen=True)
class ImageArchive:
    """What an archive holds: its media type, the digests of its image configs, the tags it names."""

    media: str
    image_ids: tuple[str, ...]
    references: tuple[str, ...]


def inspect_archive(file: BinaryIO, size: int) -> ImageArchive:
    """Read an archive of `size` bytes from a seekable file.

    Raises:
        NotAnImageArchive: for anything else, damaged or hostile files included.
    """
    file.seek(0)
    magic = file.read(4)
    file.seek(0)
    if magic == _ZSTD_MAGIC:
        raise NotAnImageArchive("compressed with zstd: send it plain or gzipped")
    is_gzip = magic.startswith(_GZIP_MAGIC)
    try:
        if is_gzip:
            with gzip.GzipFile(fileobj=file) as unpacked:
                content = _read(_Bounded(unpacked, size * _MAX_RATIO + _FREE_BYTES))
        else:
            content = _read(_Bounded(file, size))
        archive = _describe(content)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise NotAnImageArchive(f"not a whole tar archive: {error}") from None
    except (ValueError, OverflowError, RecursionError, TypeError, AttributeError, KeyError):
        # What tarfile and the walk over foreign JSON raise for nonsense in fields.
        raise NotAnImageArchive("its headers or documents make no sense") from None
    return ImageArchive(archive.media + ("+gzip" if is_gzip else ""), archive.image_ids, archive.references)


class _Bounded:
    """Reads in small pieces up to an end: tarfile would read a header of any size into memory."""

    def __init__(self, file: Any, end: int) -> None:
        self._file = file
        self._end = end

    def read(self, size: int = -1) -> bytes:
        if size < 0 or size > _MAX_HEADER_BYTES:
            raise NotAnImageArchive("a header in it is far too large")
        self._check(self._file.tell() + size)
        data: bytes = self._file.read(size)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence != 0:
            raise NotAnImageArchive("a header in it makes no sense")
        self._check(offset)
        position: int = self._file.seek(offset)
        return position

    def tell(self) -> int:
        position: int = self._file.tell()
        return position

    def _check(self, position: int) -> None:
        # One block more: the reader looks for the end marker behind the last byte.
        if position > self._end + 2 * tarfile.RECORDSIZE:
            raise NotAnImageArchive("it is cut short, or it unpacks to far more than it is")


@dataclass
class _Content:
    """Names in the archive, and the small JSON documents among them with the digest of their bytes."""

    files: set[str] = field(default_factory=set)
    links: dict[str, str] = field(default_factory=dict)
    documents: dict[str, Any] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        """Whether a file, or a link to one, has this name."""
        for _ in range(10):
            if name in self.files:
                return True
            if name not in self.links:
                return False
            name = self.links[name]
        return False


def _read(file: _Bounded) -> _Content:
    content = _Content()
    kept = 0
    with tarfile.open(fileobj=file, mode="r:") as tar:  # type: ignore[call-overload]
        for member in _members(tar):
            name = _inside(member.name)
            if member.issym():
                content.links[name] = _inside(posixpath.join(posixpath.dirname(name), member.linkname))
            elif member.islnk():
                content.links[name] = _inside(member.linkname)
            elif member.isreg():
                content.files.add(name)
                kept += _keep_document(content, file, member, name, _MAX_DOCUMENTS_BYTES - kept)
            elif not member.isdir():
                raise NotAnImageArchive("it holds a device or a pipe")
    return content


def _members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    for _ in range(_MAX_MEMBERS):
        member = tar.next()
        if member is None:
            return
        tar.members.clear()  # type: ignore[attr-defined]
        yield member
    raise NotAnImageArchive(f"it has more than {_MAX_MEMBERS} members")


def _inside(name: str) -> str:
    path = posixpath.normpath(name)
    if path.startswith(("/", "../")) or path == ".." or "\0" in name or len(name) > 4096:
        raise NotAnImageArchive("a path in it leads out of the archive")
    return path


def _keep_document(content: _Content, file: _Bounded, member: tarfile.TarInfo, name: str, room: int) -> int:
    """Read a member that may be a JSON document; return how many bytes that took."""
    may_be = name.endswith(".json") or name == "oci-layout" or _BLOB.fullmatch(name)
    if not may_be or member.size > min(_MAX_DOCUMENT_BYTES, room) or member.issparse():
        return 0
    position = file.tell()
    file.seek(member.offset_data)
    data = b""
    while len(data) < member.size:
        piece = file.read(min(_CHUNK, member.size - len(data)))
        if not piece or (not data and piece[:1] not in (b"{", b"[")):
            break
        data += piece
    file.seek(max(position, file.tell()))
    if len(data) != member.size or not data:
        return 0
    try:
        content.documents[name] = json.loads(data)
    except (ValueError, RecursionError):
        return len(data)
    content.digests[name] = "sha256:" + hashlib.sha256(data).hexdigest()
    return len(data)


def _describe(content: _Content) -> ImageArchive:
    if "manifest.json" in content.documents:
        return _describe_docker(content, content.documents["manifest.json"])
    if "index.json" in content.documents and "oci-layout" in content.documents:
        return _describe_oci(content, content.documents["index.json"])
    raise NotAnImageArchive("it has neither docker's manifest.json nor an OCI layout's index.json")


def _describe_docker(content: _Content, manifest: Any) -> ImageArchive:
    if not isinstance(manifest, list) or not 0 < len(manifest) <= _MAX_IMAGES:
        raise NotAnImageArchive("its manifest.json lists no images")
    image_ids, references = [], []
    for image in manifest:
        config = posixpath.normpath(image["Config"])
        found = _LEGACY_CONFIG.fullmatch(config) or _BLOB.fullmatch(config)
        if found is None:
            raise NotAnImageArchive("an image's config is not named by its digest")
        digest = f"sha256:{found[1]}"
        if content.digests.get(config) != digest:
            raise NotAnImageArchive("an image's config is missing or does not have its digest")
        for layer in image.get("Layers") or []:
            if not content.has(posixpath.normpath(layer)):
                raise NotAnImageArchive("a layer that its manifest lists is missing")
        image_ids.append(digest)
        references += [tag for tag in image.get("RepoTags") or [] if isinstance(tag, str)]
    return ImageArchive(_DOCKER_MEDIA, _unique(image_ids), _unique(references))


def _describe_oci(content: _Content, index: Any) -> ImageArchive:
    image_ids, references = [], []
    for entry, depth in _entries(index, 0):
        manifest = _blob(content, entry)
        if isinstance(manifest, dict) and "manifests" in manifest:
            nested = [inner for inner, _ in _entries(manifest, depth + 1)]
            found = [_config_of(content, inner) for inner in nested]
        else:
            found = [_config_of(content, entry)]
        image_ids += [digest for digest in found if digest]
        annotations = entry.get("annotations") or {}
        name = annotations.get("io.containerd.image.name") or annotations.get(
            "org.opencontainers.image.ref.name"
        )
        if isinstance(name, str):
            references.append(name)
    if not image_ids:
        raise NotAnImageArchive("its index names no image of which everything is there")
    return ImageArchive(_OCI_MEDIA, _unique(image_ids), _unique(references))


def _entries(index: Any, depth: int) -> Iterator[tuple[dict[str, Any], int]]:
    manifests = index["manifests"]
    if not isinstance(manifests, list) or len(manifests) > _MAX_IMAGES or depth > _MAX_INDEX_DEPTH:
        raise NotAnImageArchive("its index makes no sense")
    for entry in manifests:
        annotations = entry.get("annotations") or {}
        # A statement about an image (provenance, SBOM) is stored like one and runs nothing.
        if annotations.get("vnd.docker.reference.type") != "attestation-manifest":
            yield entry, depth


def _config_of(content: _Content, entry: dict[str, Any]) -> str | None:
    """Return the config digest of an image that is wholly there, else None (another platform's, left out)."""
    manifest = _blob(content, entry)
    if not isinstance(manifest, dict):
        return None
    config = manifest["config"]
    if _blob(content, config) is None:
        return None
    layers = [_name_of(layer) for layer in manifest.get("layers") or []]
    return str(config["digest"]) if all(name and content.has(name) for name in layers) else None


def _blob(content: _Content, descriptor: dict[str, Any]) -> Any:
    name = _name_of(descriptor)
    if name is None or name not in content.digests:
        return None
    if content.digests[name] != descriptor["digest"]:
        raise NotAnImageArchive("a document in it does not have the digest that names it")
    return content.documents[name]


def _name_of(descriptor: dict[str, Any]) -> str | None:
    found = _DIGEST.fullmatch(descriptor["digest"])
    return f"blobs/sha256/{found[1]}" if found else None


def _unique(words: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))
