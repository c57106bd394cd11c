# SPDX-License-Identifier: Apache-2.0
"""The index of a bundle folder, as the commands that fill, compare and describe bundles need it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from controlplane.adapters.bundle import rules
from controlplane.domain.errors import Problem


def read(folder: Path) -> dict[str, Any]:
    """Return the index.

    Raises:
        Problem: `bundle_index_missing`, or `bundle_index_invalid` with all that is wrong in it.
    """
    path, indexes = rules.part("bundle_path").INDEX, rules.part("index")
    try:
        content = rules.part("folder").content(str(folder), path, indexes.MOST_BYTES)
    except OSError as error:
        raise Problem("bundle_index_missing", f"{folder / path}: {error.strerror or error}") from None
    index, faults = indexes.read(content)
    if faults:
        told = rules.part("fault").summary(faults)
        raise Problem("bundle_index_invalid", told, extra={"faults": [one.document() for one in faults]})
    found: dict[str, Any] = index
    return found


def record(folder: Path, known: Mapping[str, Mapping[str, str | int]]) -> None:
    """Write fields of artifacts, by the artifacts' paths, into the index; all else in it stays."""
    path = folder / rules.part("bundle_path").INDEX
    before = path.read_text("utf-8")
    after = rules.part("lock").filled_in(before, known)
    if after != before:
        making = path.with_name(path.name + ".making")
        making.write_text(after, "utf-8")
        making.replace(path)


def sums(folder: Path) -> tuple[str, dict[str, str]]:
    """Return the bundle's digest and path -> sha256 as listed; ("", {}) of a bundle that was never locked.

    Raises:
        Problem: `bundle_index_invalid` when the list is not one.
    """
    listing = rules.part("sums")
    try:
        content = rules.part("folder").content(
            str(folder), rules.part("bundle_path").SUMS, listing.MOST_BYTES
        )
    except OSError:
        return "", {}
    known, faults = listing.read(content)
    if faults:
        raise Problem("bundle_index_invalid", rules.part("fault").summary(faults))
    return listing.digest(content), known


def place(folder: Path, path: str) -> Path:
    """Return where an artifact goes, its folder made, no link followed on the way.

    Raises:
        Problem: `artifact_unlisted` when a link or a file is where a folder must be.
    """
    goal = folder
    for name in path.split("/")[:-1]:
        goal = goal / name
        try:
            os.mkdir(goal, 0o755)
        except FileExistsError:
            if goal.is_symlink() or not goal.is_dir():
                raise Problem("artifact_unlisted", f"{goal} is no folder") from None
    return goal / path.rsplit("/", 1)[-1]


def is_there(folder: Path, artifact: Mapping[str, Any]) -> bool:
    """Tell whether an artifact is in its place; one with a sum has to have it."""
    found = rules.part("folder").digests(str(folder), [artifact["path"]]).get(artifact["path"])
    return found is not None and artifact.get("sha256", found[0]) == found[0]
