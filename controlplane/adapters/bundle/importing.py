# SPDX-License-Identifier: Apache-2.0
"""Artifacts from files that are on this machine: a folder, or Debian packages."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from controlplane.adapters.bundle import debian, index_file, rules
from controlplane.domain.errors import Problem


def take(folder: Path, sources: Sequence[Path], *, update: bool = False) -> dict[str, Any]:
    """Fill a bundle; return `imported` (id, from, bytes, changed) and `missing`, the ids that are still not there.

    A source is a package (`.deb`), or a folder with packages and with files named as artifacts' paths or base names.
    With `update` a file may be another than the one that the index promises: it is to be locked anew.

    Raises:
        Problem: `artifact_checksum_mismatch` when a file is not the one that the index promises,
            `artifact_missing` when a package lacks what the index expects in it, or a file cannot be read.
    """
    folder = folder.resolve()  # What is beside `.` would be in it.
    index = index_file.read(folder)
    if update:
        index["artifacts"] = [_unlocked(one) for one in index["artifacts"]]
    imported: list[dict[str, Any]] = []
    packages = [one for one in sources if one.is_file()]
    for source in sources:
        if source.is_dir():
            packages += sorted(source.glob("*.deb"))
            imported += _from_folder(folder, index, source)
    for package in packages:
        imported += _from_package(folder, index, package)
    missing = [one["id"] for one in index["artifacts"] if not index_file.is_there(folder, one)]
    return {"imported": imported, "missing": missing}


def _unlocked(artifact: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in artifact.items() if name not in ("sha256", "size")}


def _from_folder(folder: Path, index: dict[str, Any], source: Path) -> list[dict[str, Any]]:
    done = []
    for artifact in index["artifacts"]:
        for name in (artifact["path"], artifact["path"].rpartition("/")[2]):
            file = source / name
            # A link in the folder may lead anywhere; only what is really there is taken.
            if file.is_file() and not file.is_symlink():
                done.append(_put(folder, artifact, file, name))
                break
    return done


def _from_package(folder: Path, index: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    package = debian.describe(path)
    wanted = [
        one
        for one in index["artifacts"]
        if one.get("source", {}).get("debian", {}).get("package") == package.name
    ]
    if not wanted:
        return []
    known = {one["arch"] for one in index["platforms"]}
    if package.architecture not in {*known, "all"}:
        raise Problem(
            "artifact_missing",
            f"{path.name} is for {package.architecture}, the bundle for {', '.join(known)}",
        )
    done = []
    for artifact in wanted:
        source = artifact["source"]["debian"]
        members = source.get("members") or [source.get("member", f"usr/bin/{artifact['id']}")]
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".bundle-import-") as scratch:
            files = debian.extract(path, members, Path(scratch))
            if "members" in source:
                made = Path(scratch) / "archive"
                debian.write_tar(files, made)
            else:
                (made,) = files.values()
            done.append({**_put(folder, artifact, made, path.name), "version": package.version})
        # An epoch says nothing to anybody but dpkg.
        index_file.record(folder, {artifact["path"]: {"version": package.version.rpartition(":")[2]}})
    return done


def _put(folder: Path, artifact: dict[str, Any], file: Path, source: str) -> dict[str, Any]:
    hashed = rules.part("folder").digests(str(file.parent), [file.name]).get(file.name)
    if hashed is None:
        raise Problem(
            "artifact_missing",
            f"{file} cannot be read",
            hint="See that it is a plain file that you may read.",
        )
    if artifact.get("sha256", hashed[0]) != hashed[0]:
        raise Problem(
            "artifact_checksum_mismatch",
            f"{source} is not the {artifact['id']} that the index promises",
            hint="Bring that very file; or import with --update, and lock again.",
        )
    done = {"id": artifact["id"], "from": source, "bytes": hashed[1], "changed": True}
    if rules.part("folder").digests(str(folder), [artifact["path"]]).get(artifact["path"]) == hashed:
        return {**done, "changed": False}
    goal = index_file.place(folder, artifact["path"])
    making = goal.with_name(goal.name + ".making")
    shutil.copyfile(file, making)
    os.chmod(making, int(artifact.get("mode", "0644"), 8))
    os.replace(making, goal)
    return done
