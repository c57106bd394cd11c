# SPDX-License-Identifier: Apache-2.0
"""A bundle held against its index, its list of sums and its signature; every fault of it in one pass."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Optional, Sequence, Set, Tuple

from . import folder as folders
from . import index as indexes
from . import signature, sums
from .bundle_path import INDEX, SIGNATURE, SUMS, is_artifact, printable
from .fault import Fault, ordered


@dataclass
class Inspection:
    """What is known of a bundle. `index` is None when it cannot be used; `sums` is path -> sha256 as listed.

    `digest` is that of the list (`sha256:...`), `signed_by` the trusted key's 32 bytes in hex. The `unhashed` files
    were taken at the word of the list.
    """

    folder: str
    faults: List[Fault] = field(default_factory=list)
    index: Optional[Dict[str, Any]] = None
    sums: Dict[str, str] = field(default_factory=dict)
    digest: str = ""
    signed_by: str = ""
    has_signature: bool = False
    files: Dict[str, int] = field(default_factory=dict)
    unhashed: List[str] = field(default_factory=list)


def inspect(
    folder: str,
    trusted: Sequence[bytes] = (),
    runtime: Optional[Tuple[str, Optional[str]]] = None,
    with_artifacts: bool = True,
    said: Optional[Callable[[int], None]] = None,
    unhashed_from: Optional[int] = None,
) -> Inspection:
    """Look at a whole bundle.

    With `trusted` keys one of them must have signed it. `runtime` is (name, version) that it must be able to
    install, with all artifacts of it; without a version, the newest supported one. Without `with_artifacts`
    artifacts may be missing, as they are in version control. Files of `unhashed_from` bytes or more are not hashed:
    to hold them to their sums is left to the caller.
    """
    result = Inspection(folder)
    if not os.path.isdir(folder):
        result.faults = [Fault("bundle_index_missing", INDEX, f"{printable(folder)} is no folder")]
        return result
    try:
        found = folders.walk(folder)
    except OSError as error:
        result.faults = [Fault("bundle_index_missing", INDEX, f"the folder cannot be read: {error}")]
        return result
    result.files = found.files
    result.has_signature = SIGNATURE in result.files
    _read_index(result)
    _read_sums(result, trusted)
    hashed = _hashed(result, said, unhashed_from)
    _compare(result, found, hashed)
    if result.index is not None:
        needed = {one["id"] for one in result.index["artifacts"] if one.get("required", True)}
        if runtime is not None:
            version, faults = indexes.version(result.index, *runtime)
            result.faults += faults
            needed |= set(version["artifacts"]) if version else set()
        _hold_to_index(result, hashed, needed if with_artifacts else set())
    result.faults = ordered(result.faults)
    return result


def listed(folder: str, trusted: Sequence[bytes] = ()) -> Inspection:
    """Read the index, the list of sums and its signature alone: for who hashes the few files that it needs itself.

    The index is held to the list; of the files nothing is known yet.
    """
    result = Inspection(folder)
    _read_index(result)
    _read_sums(result, trusted)
    hashed = folders.digests(folder, [INDEX]) if result.index is not None else {}
    if INDEX in hashed and result.sums.get(INDEX) not in (None, hashed[INDEX][0]):
        result.faults.append(Fault("artifact_checksum_mismatch", INDEX, f"is not what {SUMS} says"))
    result.faults = ordered(result.faults)
    return result


def _hashed(
    result: Inspection, said: Optional[Callable[[int], None]], unhashed_from: Optional[int]
) -> Dict[str, Tuple[str, int]]:
    files = set(result.files) - {SUMS, SIGNATURE}
    if unhashed_from is not None:
        large = {path for path in files & set(result.sums) if result.files[path] >= unhashed_from}
        result.unhashed = sorted(large)
        files -= large
    hashed = folders.digests(result.folder, sorted(files), said)
    return {**hashed, **{path: (result.sums[path], result.files[path]) for path in result.unhashed}}


def _read_index(result: Inspection) -> None:
    try:
        content = folders.content(result.folder, INDEX, indexes.MOST_BYTES)
    except OSError:
        result.faults.append(Fault("bundle_index_missing", INDEX, "is not there as a plain file"))
        return
    result.index, faults = indexes.read(content)
    result.faults += faults


def _read_sums(result: Inspection, trusted: Sequence[bytes]) -> None:
    try:
        content = folders.content(result.folder, SUMS, sums.MOST_BYTES)
    except OSError:
        result.faults.append(Fault("artifact_missing", SUMS, "is not there as a plain file; lock the bundle"))
        return
    result.sums, faults = sums.read(content)
    result.faults += faults
    result.digest = sums.digest(content)
    if not trusted:
        return
    try:
        signed = folders.content(result.folder, SIGNATURE, 1024)
    except OSError:
        result.faults.append(
            Fault("bundle_signature_invalid", SIGNATURE, "is missing; a trusted key must sign")
        )
        return
    key = signature.signer(content, signed, trusted)
    if key is None:
        result.faults.append(
            Fault("bundle_signature_invalid", SIGNATURE, "is of no trusted key for these sums")
        )
    else:
        result.signed_by = key.hex()


def _compare(result: Inspection, found: folders.Found, hashed: Dict[str, Tuple[str, int]]) -> None:
    """The files against the list of sums."""
    for path, why in found.strange.items():
        key = "artifact_checksum_mismatch" if path in result.sums else "artifact_unlisted"
        result.faults.append(Fault(key, printable(path), why))
    for path in found.files:
        if path not in result.sums and path not in (SUMS, SIGNATURE):
            result.faults.append(Fault("artifact_unlisted", path, f"is not in {SUMS}"))
    needed = indexes.hooks(result.index) if result.index is not None else {}
    for path, sha256 in result.sums.items():
        if path in hashed:
            if hashed[path][0] != sha256:
                result.faults.append(Fault("artifact_checksum_mismatch", path, f"is not what {SUMS} says"))
        elif path not in found.strange and path not in needed and path != INDEX:
            result.faults.append(Fault("artifact_missing", path, f"is in {SUMS}, but not there"))


def _hold_to_index(result: Inspection, hashed: Dict[str, Tuple[str, int]], needed: Set[str]) -> None:
    """The files against the index: each artifact as it says, nothing that it does not name, every hook there."""
    assert result.index is not None
    named = {one["path"]: one for one in result.index["artifacts"]}
    for path, one in named.items():
        if path not in hashed:
            if one["id"] in needed and path not in result.sums:
                result.faults.append(Fault("artifact_missing", path, f"{one['id']} is not there"))
        elif "sha256" not in one:
            result.faults.append(
                Fault("bundle_index_invalid", INDEX, f"{one['id']} has no sum yet; lock the bundle")
            )
        elif hashed[path] != (one["sha256"], one["size"]):
            result.faults.append(
                Fault("artifact_checksum_mismatch", path, f"{one['id']} is not what the index says")
            )
    for path in result.files:
        if is_artifact(path) and path not in named:
            result.faults.append(Fault("artifact_unlisted", path, "is no artifact of the index"))
    for path, step in indexes.hooks(result.index).items():
        if path not in hashed:
            result.faults.append(Fault("hook_missing", path, f"the step {step} needs it"))
