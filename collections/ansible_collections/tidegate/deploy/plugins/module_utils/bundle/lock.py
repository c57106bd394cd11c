# SPDX-License-Identifier: Apache-2.0
"""Lock a bundle: write what its artifacts are into the index, and the list of sums of all files."""

from __future__ import annotations

import json
import os
from typing import Any, Callable, List, Mapping, Optional, Tuple, Union

from . import folder as folders
from . import index as indexes
from . import sums
from .bundle_path import INDEX, SIGNATURE, SUMS, is_artifact, printable
from .fault import Fault, ordered


def lock(folder: str, said: Optional[Callable[[int], None]] = None) -> Tuple[str, bool, List[Fault]]:
    """The bundle's digest, whether anything was written, and what keeps it from being locked (then nothing is).

    An artifact that is not there is none of these: it keeps what the index says of it. A signature that does
    not fit any more is removed.
    """
    try:
        found = folders.walk(folder)
        text = folders.content(folder, INDEX, indexes.MOST_BYTES)
    except OSError as error:
        return "", False, [Fault("bundle_index_missing", INDEX, str(error))]
    index, faults = indexes.read(text)
    faults += [Fault("artifact_unlisted", printable(path), why) for path, why in found.strange.items()]
    if index is None:
        return "", False, ordered(faults)
    named = {one["path"] for one in index["artifacts"]}
    for path in found.files:
        if is_artifact(path) and path not in named:
            faults.append(Fault("artifact_unlisted", path, "is no artifact of the index"))
    for path, step in indexes.hooks(index).items():
        if path not in found.files:
            faults.append(Fault("hook_missing", path, f"the step {step} needs it"))
    if faults:
        return "", False, ordered(faults)
    hashed = folders.digests(folder, sorted(set(found.files) - {SUMS, SIGNATURE}), said)
    known = {path: {"sha256": hashed[path][0], "size": hashed[path][1]} for path in named if path in hashed}
    filled = filled_in(text.decode("utf-8"), known)
    changed = _write(folder, INDEX, filled.encode("utf-8"))
    hashed.update(folders.digests(folder, [INDEX]))
    content = sums.written({path: sha256 for path, (sha256, _size) in hashed.items()})
    if _write(folder, SUMS, content):
        changed = True
        if SIGNATURE in found.files:
            os.unlink(os.path.join(folder, SIGNATURE))
    return sums.digest(content), changed, []


def filled_in(text: str, known: Mapping[str, Mapping[str, Union[str, int]]]) -> str:
    """The index's text with these fields of artifacts (by path). All else, comments too, stays as it is."""
    edits: List[Tuple[int, int, str]] = []
    for artifact in _entries(indexes.nodes(text), "artifacts").value:
        fields = {key.value: (key, value) for key, value in artifact.value}
        if fields["path"][1].value not in known:
            continue
        for name, told in known[fields["path"][1].value].items():
            # What JSON writes is YAML too.
            value = json.dumps(told)
            if name in fields:
                node = fields[name][1]
                edits.append((node.start_mark.index, node.end_mark.index, value))
            else:
                key, before = fields["path"]
                gap = ", " if artifact.flow_style else "\n" + " " * key.start_mark.column
                edits.append((before.end_mark.index, before.end_mark.index, f"{gap}{name}: {value}"))
    # From the end on, so that places before stay right; at one place the first that was said comes first.
    for _number, (start, end, value) in sorted(
        enumerate(edits), key=lambda one: (one[1][0], one[0]), reverse=True
    ):
        text = text[:start] + value + text[end:]
    return text


def _entries(mapping: Any, name: str) -> Any:
    return next(value for key, value in mapping.value if key.value == name)


def _write(folder: str, path: str, content: bytes) -> bool:
    """Put a file in its place in one move. Says whether it was another before."""
    goal = os.path.join(folder, path)
    try:
        if folders.content(folder, path, len(content)) == content:
            return False
    except OSError:
        pass
    os.makedirs(os.path.dirname(goal), exist_ok=True)
    making = goal + ".making"
    with open(making, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(making, goal)
    return True
