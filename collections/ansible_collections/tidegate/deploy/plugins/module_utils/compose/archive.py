# SPDX-License-Identifier: Apache-2.0
"""What an image archive holds, learned without an engine: docker archives (`docker save`) and OCI archives.

An image's id is the digest of its configuration, and the configuration names the digest of every layer, so
the
id alone says what the image is.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_JSON_LIMIT = 8 * 1024 * 1024
_PIECE = 1024 * 1024
_INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)


class ArchiveError(Exception):
    """An archive that cannot be used. `error_key` is one of Tidegate's; `hint` says what to do next."""

    def __init__(self, error_key: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.error_key = error_key
        self.hint = hint


@dataclass(frozen=True)
class ImageArchive:
    """One image in one archive file.

    `kind` is `docker` or `oci`; `image_id` is `sha256:...` of the configuration; `size` is bytes of the file.
    `config` and `layers` are the names of the members, in the order in which layers are put on one another.
    """

    path: str
    kind: str
    image_id: str
    references: tuple[str, ...]
    size: int
    config: str
    layers: tuple[str, ...]


def read_archive(path: str, reference: str | None = None) -> ImageArchive:
    """The image in the archive at `path`; with several images in it, the one tagged `reference`.

    Raises ArchiveError: artifact_missing when there is no such file, artifact_checksum_mismatch when what is
    inside does not have the digest it is named by, validation_error when the file is no image archive.
    """
    file = Path(path)
    if not file.is_file():
        raise ArchiveError(
            "artifact_missing", f"there is no file {path}", "Give the path of a docker or OCI archive."
        )
    try:
        with tarfile.open(path, "r:*") as tar:
            members = {_plain(name): name for name in tar.getnames()}
            if "manifest.json" in members:
                found = _read_docker(tar, members, reference)
            elif "index.json" in members and "oci-layout" in members:
                found = _read_oci(tar, members)
            else:
                raise _not_one(path, "it has neither manifest.json nor oci-layout")
    except (
        tarfile.TarError,
        EOFError,
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        IndexError,
    ) as error:
        raise _not_one(path, str(error) or type(error).__name__) from error
    return ImageArchive(path=path, size=file.stat().st_size, **found)


def pieces(path: str, offset: int, size: int) -> Iterator[bytes]:
    """The file's bytes from `offset` on, `size` at a time; the last may be shorter."""
    with open(path, "rb") as file:
        file.seek(offset)
        while piece := file.read(size):
            yield piece


def file_digest(path: str, length: int | None = None) -> hashlib._Hash:
    """The running sha256 of the first `length` bytes of a file (all of it unless told)."""
    digest = hashlib.sha256()
    left = length if length is not None else Path(path).stat().st_size
    for piece in pieces(path, 0, _PIECE):
        digest.update(piece[:left])
        left -= len(piece)
        if left <= 0:
            break
    return digest


def loadable(path: str, write: Callable[[bytes], Any], manifest: dict[str, Any] | None) -> None:
    """Write the archive to `write` in a form every engine loads.

    `manifest` is None for a docker archive, which goes as it is. Engines before 25 know no OCI archive:
    theirs
    is the `manifest_entry` of one, put behind the other members under the name such engines look for.
    """
    if manifest is None:
        for piece in pieces(path, 0, _PIECE):
            write(piece)
        return
    with tarfile.open(path, "r:*") as source, tarfile.open(fileobj=_Sink(write), mode="w|") as target:
        for member in source:
            if _plain(member.name) in ("index.json", "oci-layout", "manifest.json"):
                continue
            if member.isfile() or member.isdir():
                target.addfile(member, source.extractfile(member) if member.isfile() else None)
        content = json.dumps([manifest]).encode()
        entry = tarfile.TarInfo("manifest.json")
        entry.size = len(content)
        target.addfile(entry, io.BytesIO(content))


def manifest_entry(archive: ImageArchive, reference: str) -> dict[str, Any] | None:
    """What `loadable` needs to turn this archive into a docker archive; None when it is one already."""
    if archive.kind == "docker":
        return None
    return {"Config": archive.config, "RepoTags": [reference], "Layers": list(archive.layers)}


class _Sink(io.RawIOBase):
    """A file to write to that hands every piece on."""

    def __init__(self, hand_on: Callable[[bytes], Any]) -> None:
        super().__init__()
        self._hand_on = hand_on

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._hand_on(bytes(data))
        return len(data)


def _read_docker(tar: tarfile.TarFile, members: dict[str, str], reference: str | None) -> dict[str, Any]:
    entries = _json(tar, members, "manifest.json")
    if not isinstance(entries, list) or not entries:
        raise ValueError("manifest.json names no image")
    entry = entries[0]
    if len(entries) > 1:
        tagged = [one for one in entries if reference in (one.get("RepoTags") or [])]
        if len(tagged) != 1:
            raise ValueError(
                f"it holds {len(entries)} images and not exactly one of them is tagged {reference}"
            )
        entry = tagged[0]
    config, layers = _plain(entry["Config"]), tuple(_plain(layer) for layer in entry["Layers"])
    _require(members, layers)
    content = _content(tar, members, config)
    image_id = "sha256:" + hashlib.sha256(content).hexdigest()
    named = re.search(r"[0-9a-f]{64}", config)
    if named and f"sha256:{named.group()}" != image_id:
        raise ArchiveError(
            "artifact_checksum_mismatch", f"the configuration in the archive is not {named.group()}"
        )
    _require_config(content)
    return {
        "kind": "docker",
        "image_id": image_id,
        "references": tuple(entry.get("RepoTags") or ()),
        "config": config,
        "layers": layers,
    }


def _read_oci(tar: tarfile.TarFile, members: dict[str, str]) -> dict[str, Any]:
    index = _json(tar, members, "index.json")
    names = [
        one.get("annotations", {}).get("org.opencontainers.image.ref.name") for one in index["manifests"]
    ]
    for _ in range(4):
        images = [one for one in index["manifests"] if not _is_attestation(one)]
        if len(images) != 1:
            raise ValueError(f"it holds {len(images)} images, expected one (for one platform)")
        descriptor = images[0]
        document = json.loads(_blob(tar, members, descriptor["digest"]))
        if descriptor.get("mediaType") not in _INDEX_TYPES and "manifests" not in document:
            break
        index = document
    config, layers = document["config"]["digest"], [layer["digest"] for layer in document["layers"]]
    _require_config(_blob(tar, members, config))
    layer_names = tuple(_blob_name(layer) for layer in layers)
    _require(members, layer_names)
    return {
        "kind": "oci",
        "image_id": config,
        "references": tuple(name for name in names if name),
        "config": _blob_name(config),
        "layers": layer_names,
    }


def _is_attestation(descriptor: dict[str, Any]) -> bool:
    return descriptor.get("annotations", {}).get("vnd.docker.reference.type") == "attestation-manifest"


def _blob_name(digest: str) -> str:
    if not DIGEST.fullmatch(digest):
        raise ValueError(f"{digest} is no sha256 digest")
    return f"blobs/sha256/{digest[7:]}"


def _blob(tar: tarfile.TarFile, members: dict[str, str], digest: str) -> bytes:
    content = _content(tar, members, _blob_name(digest))
    if hashlib.sha256(content).hexdigest() != digest[7:]:
        raise ArchiveError("artifact_checksum_mismatch", f"a part of the archive is not {digest}")
    return content


def _require(members: dict[str, str], names: tuple[str, ...]) -> None:
    missing = [name for name in names if name not in members]
    if missing:
        raise ValueError(f"it lacks {missing[0]}")


def _require_config(content: bytes) -> None:
    config = json.loads(content)
    if not isinstance(config, dict) or "rootfs" not in config:
        raise ValueError("its configuration is not one of an image")


def _content(tar: tarfile.TarFile, members: dict[str, str], name: str) -> bytes:
    _require(members, (name,))
    member = tar.getmember(members[name])
    file: IO[bytes] | None = tar.extractfile(member) if member.size <= _JSON_LIMIT else None
    if file is None:
        raise ValueError(f"{name} is no plain file of at most {_JSON_LIMIT} bytes")
    return file.read()


def _json(tar: tarfile.TarFile, members: dict[str, str], name: str) -> Any:
    return json.loads(_content(tar, members, name))


def _plain(name: str) -> str:
    return name.removeprefix("./")


def _not_one(path: str, why: str) -> ArchiveError:
    return ArchiveError(
        "validation_error",
        f"{Path(path).name} is not an image archive: {why}",
        "Make one with `docker save` or `skopeo copy ... oci-archive:`.",
    )
