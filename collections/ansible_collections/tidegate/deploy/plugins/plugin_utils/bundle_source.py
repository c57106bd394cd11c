# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""The bundle on the controller, for tasks: verified once for all hosts, then known by its files' stamps."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ansible_collections.tidegate.deploy.plugins.module_utils.bundle import (
    bundle_path,
    fault,
    folder,
    index,
    inspection,
    signature,
)
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError

# Smaller files are hashed before any host is asked for anything: all of a bundle's take no time worth saving.
LARGE_BYTES = 16 << 20
ARGUMENTS = ("bundle_dir", "runtime_type", "runtime_version", "features", "trusted_keys", "bundle_digest")


def wanted(given: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
    """What a task asks for: an environment spec (a file, read as data), with the task's own arguments winning."""
    spec: dict[str, Any] = {}
    path = given.get("environment_spec_file") or variables.get("environment_spec_file")
    if path:
        try:
            spec = json.loads(Path(str(path)).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ReleaseError("validation_error", f"cannot read the environment spec: {error}") from error
    asked = {name: spec.get(name) for name in ARGUMENTS}
    asked["trusted_keys"] = spec.get("bundle_trusted_keys")
    asked["bundle_digest"] = (spec.get("expect") or {}).get("bundle_digest")
    asked.update({name: given[name] for name in ARGUMENTS if given.get(name) is not None})
    if not isinstance(asked["bundle_dir"], str) or not asked["bundle_dir"]:
        raise ReleaseError(
            "bundle_index_missing", "bundle_dir: no bundle is named", "Name the bundle's folder."
        )
    if asked["runtime_version"] and not asked["runtime_type"]:
        raise ReleaseError("validation_error", "runtime_version: of which runtime_type?")
    return {**asked, "result_dir": spec.get("result_dir")}


def verified(asked: dict[str, Any], large_later: bool = False) -> dict[str, Any]:
    """Verify the whole bundle: {"digest", "signed_by", "files": {path: {"sha256", "stamp"}}, "runtime", ...}.

    `runtime` is {"version", "status"} of what is to be installed, None where no runtime is asked for.
    With `large_later` the large files are the caller's to hold to their sums, they are "unhashed": hosts hash what
    they are sent, `bundle_hashing` the others. Raises ReleaseError: the gravest fault's key, all faults in its detail.
    """
    bundle_dir = asked["bundle_dir"]
    before = {path: stamp(bundle_dir, path) for path in _files(bundle_dir)} if _is_there(bundle_dir) else {}
    runtime = (asked["runtime_type"], asked["runtime_version"]) if asked["runtime_type"] else None
    keys = signature.trusted_keys(asked["trusted_keys"] or [])
    large = LARGE_BYTES if large_later else None
    found = inspection.inspect(bundle_dir, keys, runtime, unhashed_from=large)
    if found.faults:
        raise faulty(found.faults)
    if asked["bundle_digest"] and asked["bundle_digest"] != found.digest:
        raise ReleaseError(
            "preview_stale", f"the bundle is {found.digest}, the preview was made with {asked['bundle_digest']}",
            "Preview again.",
        )  # fmt: skip
    assert found.index is not None
    return {
        "bundle_dir": bundle_dir,
        "digest": found.digest,
        "signed_by": found.signed_by or None,
        "index": found.index,
        "runtime": _runtime(found.index, *runtime) if runtime else None,
        "files": {path: {"sha256": sha256, "stamp": before.get(path)} for path, sha256 in found.sums.items()},
        "delivered": _selected(found.index, asked),
        "unhashed": found.unhashed,
    }


def faulty(faults: list[fault.Fault]) -> ReleaseError:
    """The refusal of a bundle with these faults, the gravest first."""
    return ReleaseError(
        faults[0].key, fault.summary(faults), "See `tidegate bundle verify`; fetch or lock it again.",
        faults=[one.document() for one in faults],
    )  # fmt: skip


def unchanged(known: dict[str, Any]) -> None:
    """Raises ReleaseError artifact_checksum_mismatch when a file was touched since the bundle was verified,
    bundle_index_missing when the folder cannot be read any more."""
    moved = [path for path, one in known["files"].items() if stamp(known["bundle_dir"], path) != one["stamp"]]
    there = {bundle_path.SUMS, bundle_path.SIGNATURE, *known["files"]}
    moved += [path for path in _files(known["bundle_dir"]) if path not in there]
    if moved:
        raise ReleaseError(
            "artifact_checksum_mismatch", f"changed since the bundle was verified: {', '.join(sorted(moved)[:5])}",
            "Leave the bundle alone while it is used.",
        )  # fmt: skip


def stamp(bundle_dir: str, path: str) -> list[int]:
    """What changes when anybody writes to a file; empty where there is none."""
    try:
        found = os.stat(os.path.join(bundle_dir, path), follow_symlinks=False)
    except OSError:
        return []
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev]


def _runtime(known: dict[str, Any], name: str, version: str | None) -> dict[str, str]:
    entry, _faults = index.version(known, name, version)
    assert entry is not None, "a version that is not there is a fault"
    return {"version": entry["version"], "status": entry["status"]}


def _selected(known: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    """The artifacts (by id) and hooks (by path) that a host is given for this runtime and these features."""
    ids: list[str] = [one["id"] for one in known["artifacts"] if "sha256" in one]
    runtime = asked["runtime_type"]
    if runtime:
        entry, _faults = index.version(known, runtime, asked["runtime_version"])
        assert entry is not None
        ids = list(entry["artifacts"])
        for name in asked["features"] or []:
            if name not in known.get("features", {}):
                raise ReleaseError("validation_error", f"the bundle has no feature {name}")
            ids += known["features"][name]["artifacts"]
    steps = {one["name"]: one for one in known["steps"] if not runtime or runtime in one["runtime"]}
    by_id = {one["id"]: one for one in known["artifacts"]}
    absent = [one for one in ids if "sha256" not in by_id[one]]
    if absent:
        raise ReleaseError(
            "artifact_missing", f"not in the bundle: {', '.join(absent)}", "Fetch or import it."
        )
    return {
        "artifacts": {one: by_id[one] for one in dict.fromkeys(ids)},
        "hooks": sorted(
            path for path, step in index.hooks({"steps": list(steps.values())}).items() if step in steps
        ),
    }


def _files(bundle_dir: str) -> Iterable[str]:
    try:
        return folder.walk(bundle_dir).files
    except OSError as error:
        raise ReleaseError(
            "bundle_index_missing", f"the bundle's folder cannot be read: {error}",
            "See that it is a bundle, and that Tidegate may read all of it.",
        ) from error  # fmt: skip


def _is_there(bundle_dir: str) -> bool:
    return os.path.isdir(bundle_dir)
