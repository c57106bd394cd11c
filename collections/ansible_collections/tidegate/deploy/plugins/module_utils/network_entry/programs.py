# SPDX-License-Identifier: Apache-2.0
"""keepalived and ipvsadm on a host, unpacked from the bundle's artifacts into a folder of the entry's own."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
from typing import Any, Dict, List, Mapping

from ..host import state_folder
from ..release.errors import ReleaseError
from . import host_command, remembered
from .host_units import Programs

_PLACES = ("usr/sbin", "sbin", "usr/bin", "bin", ".")


def stored(sha256: str) -> str:
    """Where the host keeps an artifact: by its content, as everything that comes from a bundle."""
    return os.path.join(state_folder.path("bundle"), "sha256", sha256)


def missing(artifacts: Mapping[str, Mapping[str, Any]]) -> List[str]:
    """The digests of artifacts that the host has neither unpacked nor stored."""
    return sorted(
        one["sha256"]
        for one in artifacts.values()
        if not os.path.isdir(unpacked(one["sha256"])) and not os.path.exists(stored(one["sha256"]))
    )


def unpacked(sha256: str) -> str:
    """The folder that an artifact is unpacked into."""
    return os.path.join(remembered.PROGRAMS, sha256[:16])


def take(arrived: Mapping[str, str]) -> List[str]:
    """Move what arrived (digest -> path) into the store; answers the digests. Raises
    artifact_checksum_mismatch."""
    for sha256, path in arrived.items():
        goal = stored(sha256)
        os.makedirs(os.path.dirname(goal), mode=0o755, exist_ok=True)
        if _copied(path, goal + ".part") != sha256:
            os.unlink(goal + ".part")
            raise ReleaseError(
                "artifact_checksum_mismatch",
                "an artifact was altered on its way",
                "Deliver the bundle again.",
            )
        os.rename(goal + ".part", goal)
    return sorted(arrived)


def install(artifacts: Mapping[str, Mapping[str, Any]]) -> bool:
    """Unpack what is not unpacked yet. Says whether anything was."""
    changed = False
    for name, one in sorted(artifacts.items()):
        folder = unpacked(one["sha256"])
        if os.path.isdir(folder):
            continue
        changed = True
        making = folder + ".making"
        shutil.rmtree(making, ignore_errors=True)
        os.makedirs(making, mode=0o755)
        _unpack(name, stored(one["sha256"]), str(one.get("type", "archive")), making)
        os.rename(making, folder)
    return changed


def paths(artifacts: Mapping[str, Mapping[str, Any]]) -> Programs:
    """The programs' paths. Raises artifact_missing when an artifact has not the program that it is named for."""
    found = {name: _program(name, unpacked(one["sha256"])) for name, one in artifacts.items()}
    folders: List[str] = []
    for one in artifacts.values():
        for folder, _below, files in os.walk(unpacked(one["sha256"])):
            if any(".so" in file for file in files):
                folders.append(folder)
    return Programs(
        found["keepalived"], found.get("ipvsadm", ""), ":".join(sorted(folders)), remembered.CONFIG
    )


def environment(programs: Programs) -> Dict[str, str]:
    """The environment in which the programs find their libraries."""
    own = {"LD_LIBRARY_PATH": programs.libraries} if programs.libraries else {}
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", **own}


def remove_all_but(keep: List[str]) -> None:
    """Delete unpacked artifacts, except those of these digests."""
    kept = {os.path.basename(unpacked(one)) for one in keep}
    if os.path.isdir(remembered.PROGRAMS):
        for name in os.listdir(remembered.PROGRAMS):
            if name not in kept:
                shutil.rmtree(os.path.join(remembered.PROGRAMS, name))
        remove_empty(remembered.PROGRAMS, "/usr/local/lib/tidegate")


def remove_empty(*folders: str) -> None:
    """Delete these folders in turn as long as they are empty."""
    for folder in folders:
        try:
            os.rmdir(folder)
        except OSError:
            return


def _copied(source: str, goal: str) -> str:
    digest = hashlib.sha256()
    with open(source, "rb") as given, open(goal, "wb") as kept:
        for part in iter(lambda: given.read(1 << 20), b""):
            digest.update(part)
            kept.write(part)
        kept.flush()
        os.fsync(kept.fileno())
    return digest.hexdigest()


def _unpack(name: str, source: str, kind: str, folder: str) -> None:
    if kind == "binary":
        shutil.copyfile(source, os.path.join(folder, name))
        os.chmod(os.path.join(folder, name), 0o755)  # noqa: S103 (a program)
    elif kind == "package":
        done = host_command.run(["dpkg-deb", "--extract", source, folder])
        if done.exit_code != 0:
            raise ReleaseError(
                "artifact_missing", f"{name} cannot be unpacked: {done.said}", "Fetch it again."
            )
    else:
        with tarfile.open(source) as archive:
            for member in archive.getmembers():
                _require_inside(name, member)
            archive.extractall(folder)  # noqa: S202 (each member was looked at)


def _require_inside(name: str, member: tarfile.TarInfo) -> None:
    """No member may name a place outside the folder, or be anything but a file, a folder or a link within it."""
    for path in (member.name, os.path.join(os.path.dirname(member.name), member.linkname or "")):
        if os.path.isabs(path) or os.path.normpath(path).startswith(".."):
            raise ReleaseError(
                "artifact_missing", f"{name}'s archive reaches out of its folder", "Fetch it again."
            )
    if not (member.isfile() or member.isdir() or member.issym() or member.islnk()):
        raise ReleaseError("artifact_missing", f"{name}'s archive holds a special file", "Fetch it again.")


def _program(name: str, folder: str) -> str:
    for place in _PLACES:
        path = os.path.normpath(os.path.join(folder, place, name))
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    raise ReleaseError(
        "artifact_missing", f"the artifact {name} holds no program {name}", "Correct the bundle."
    )
