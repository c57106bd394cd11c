# SPDX-License-Identifier: Apache-2.0
"""A host's own disk: an ext4 file system in a sparse file, so that it can really be full."""

from __future__ import annotations

import contextlib
from pathlib import Path

from .command import run
from .engine import unmount_below

SIZE = "6G"
# Folders of a host that live on its disk, by their name on it.
FOLDERS = {
    "docker": "/var/lib/docker",
    "containerd": "/var/lib/containerd",
    "tidegate": "/var/lib/tidegate",
    "home": "/home",
}


def ensure(image: Path, mount_point: Path, owners: dict[str, int]) -> None:
    """Make the disk when it is missing and mount it; `owners` are home folders and their user ids."""
    image.parent.mkdir(parents=True, exist_ok=True)
    mount_point.mkdir(parents=True, exist_ok=True)
    if not image.exists():
        making = image.with_suffix(".making")
        making.unlink(missing_ok=True)
        run(["truncate", "--size", SIZE, str(making)])
        run(["mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1", str(making)])
        making.rename(image)
    if not mount_point.is_mount():
        run(["mount", "-o", "loop,noatime", str(image), str(mount_point)])
    for name in FOLDERS:
        (mount_point / name).mkdir(exist_ok=True)
    for user, uid in owners.items():
        folder = mount_point / "home" / user
        if not folder.exists():
            folder.mkdir(mode=0o755)
            run(["chown", f"{uid}:{uid}", str(folder)])


def remove(image: Path, mount_point: Path) -> None:
    """Unmount the disk and delete it."""
    unmount_below(mount_point)
    image.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        mount_point.rmdir()
