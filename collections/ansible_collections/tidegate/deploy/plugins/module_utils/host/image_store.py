# SPDX-License-Identifier: Apache-2.0
"""The images a host has, and how one comes to it out of an archive that was sent there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from ansible_collections.tidegate.deploy.plugins.module_utils.compose import archive
from ansible_collections.tidegate.deploy.plugins.module_utils.host import step_record

_TAIL = 2000
_DAY = 86400
PARTIAL_KEPT_DAYS = 3
LOAD_SECONDS = 900
# Beside the archive's own bytes the engine unpacks it once and then keeps its layers.
_ROOM_IN_ENGINE = 2


class ImageStoreError(Exception):
    """`error_key` is one of Tidegate's, `detail` is data for the step."""

    def __init__(self, error_key: str, message: str, hint: str = "", **detail: Any) -> None:
        super().__init__(message)
        self.error_key, self.hint, self.detail = error_key, hint, detail


@dataclass(frozen=True)
class Wanted:
    """An image a release needs: `reference` is its name, the rest is None or 0 when it is not known (yet)."""

    reference: str
    image_id: str
    archive_digest: str | None = None
    size: int = 0
    manifest: dict[str, Any] | None = field(default=None, compare=False)


def docker(argv: list[str], timeout: int = LOAD_SECONDS) -> subprocess.CompletedProcess[str]:
    """Run the engine's CLI; raises ImageStoreError preflight_failed when there is none."""
    try:
        return subprocess.run(["docker", *argv], capture_output=True, text=True, timeout=timeout, check=False)
    except FileNotFoundError as error:
        raise ImageStoreError(
            "preflight_failed", "there is no docker on this host", "Install Docker first."
        ) from error


def look(images: list[Wanted], incoming: str) -> list[dict[str, Any]]:
    """For each image: whether its id is there, whether its reference names it, and how many bytes are there.

    Answers `{reference, image_id, present, tagged, partial_bytes}` each; one call of the engine for all.
    """
    found = _inspect(sorted({image.image_id for image in images} | {image.reference for image in images}))
    tags = {tag: item["Id"] for item in found for tag in item.get("RepoTags") or []}
    ids = {item["Id"] for item in found}
    return [
        {
            "reference": image.reference,
            "image_id": image.image_id,
            "present": image.image_id in ids,
            "tagged": tags.get(_with_tag(image.reference)) == image.image_id,
            "partial_bytes": _size(_partial(incoming, image)),
        }
        for image in images
    ]


def prepare(images: list[Wanted], incoming: str) -> None:
    """Make the folder that archives are sent to, and see that there is room for all of them.

    Raises ImageStoreError storage_full, naming the folder, what is needed and what is free (bytes).
    """
    Path(incoming).mkdir(parents=True, exist_ok=True, mode=0o700)
    os.chmod(incoming, 0o700)
    _forget_old(incoming, {_partial(incoming, image) for image in images})
    root = docker(["info", "--format", "{{.DockerRootDir}}"]).stdout.strip() or "/var/lib/docker"
    whole = sum(image.size for image in images)
    left = sum(max(0, image.size - _size(_partial(incoming, image))) for image in images)
    needs: dict[int, tuple[str, int]] = {os.stat(incoming).st_dev: (incoming, left)}
    # A user who is in the docker group only cannot look into the engine's folder.
    if os.path.isdir(root) and os.access(root, os.X_OK):
        device = os.stat(root).st_dev
        folder, already = needs.get(device, (root, 0))
        needs[device] = (folder, already + whole * _ROOM_IN_ENGINE)
    for folder, need in needs.values():
        free = shutil.disk_usage(folder).free
        if free < need:
            raise ImageStoreError(
                "storage_full",
                f"no room on the host for the images: {folder} has {free} bytes free, {need} are needed",
                "Free disk space there (`docker image prune`), then try again.",
                folder=folder,
                free_bytes=free,
                needed_bytes=need,
            )


def load(image: Wanted, incoming: str) -> dict[str, Any]:
    """Load the archive that was sent, tag it, remove the file; answers the step (see `step`).

    The file is hashed before the engine sees a byte of it. Raises ImageStoreError artifact_checksum_mismatch
    when it is not what was promised, storage_full or validation_error when the engine cannot load it.
    """
    started = time.time()
    partial = _partial(incoming, image)
    complete = partial[: -len(".part")] + ".tar"
    digest = "sha256:" + archive.file_digest(partial).hexdigest()
    if digest != image.archive_digest:
        os.unlink(partial)
        raise ImageStoreError(
            "artifact_checksum_mismatch",
            f"the archive of {image.reference} arrived as {digest}, promised was {image.archive_digest}",
            "Send it again; when it happens again, the archive changed since it was registered.",
        )
    os.replace(partial, complete)
    try:
        _feed(complete, image)
    finally:
        os.unlink(complete)
    found = {item["Id"] for item in _inspect([image.image_id])}
    if image.image_id not in found:
        raise ImageStoreError(
            "artifact_checksum_mismatch",
            f"the archive of {image.reference} was loaded, but {image.image_id} is not among the images",
            "Register the archive again, so that the id is read from it.",
        )
    tag(image)
    return step(image, "succeeded", started, bytes=image.size)


def tag(image: Wanted) -> None:
    """Make the reference name this image."""
    done = docker(["tag", image.image_id, image.reference], timeout=60)
    if done.returncode != 0:
        raise ImageStoreError(
            "validation_error", f"cannot tag {image.reference}: {done.stderr.strip()[-_TAIL:]}"
        )


def step(image: Wanted, status: str, started: float, output: str = "", **detail: Any) -> dict[str, Any]:
    """One entry of `steps`: what was done for one image. `started` is seconds since the epoch."""
    return step_record.step(
        "images_present",
        status,
        started,
        output,
        reference=image.reference,
        image_id=image.image_id,
        **detail,
    )


def partial_name(archive_digest: str) -> str:
    """The file a half-sent archive is kept in: named by content, so that whoever sends it goes on."""
    return f"{archive_digest.partition(':')[2]}.part"


def _feed(path: str, image: Wanted) -> None:
    with subprocess.Popen(
        ["docker", "load", "--quiet"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        stdin, stdout = cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)
        try:
            archive.loadable(path, stdin.write, image.manifest)
            stdin.close()
        except BrokenPipeError:
            pass
        said = stdout.read().decode(errors="replace")[-_TAIL:].strip()
    if process.returncode == 0:
        return
    if "no space left" in said:
        raise ImageStoreError(
            "storage_full", f"no room on the host for {image.reference}: {said}", "Free disk space."
        )
    raise ImageStoreError("validation_error", f"the engine cannot load {image.reference}: {said}")


def _inspect(names: list[str]) -> list[dict[str, Any]]:
    done = docker(["image", "inspect", *names], timeout=60)
    if done.returncode != 0 and "Cannot connect" in done.stderr + done.stdout:
        raise ImageStoreError(
            "preflight_failed", f"the engine does not answer: {done.stderr.strip()[-_TAIL:]}", "Start Docker."
        )
    if done.returncode != 0 and "permission denied" in done.stderr.lower():
        raise ImageStoreError(
            "preflight_failed", "this user may not talk to Docker", "Use `become`, or the docker group."
        )
    # Exit code 1 says only that one of the names is not there; the others are printed all the same.
    return json.loads(done.stdout or "[]")


def _partial(incoming: str, image: Wanted) -> str:
    return os.path.join(incoming, partial_name(image.archive_digest or "sha256:unknown"))


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def _with_tag(reference: str) -> str:
    return reference if ":" in reference.rpartition("/")[2] else f"{reference}:latest"


def _forget_old(incoming: str, keep: set[str]) -> None:
    for entry in Path(incoming).iterdir():
        old = time.time() - entry.stat().st_mtime > PARTIAL_KEPT_DAYS * _DAY
        if old and str(entry) not in keep:
            entry.unlink()
