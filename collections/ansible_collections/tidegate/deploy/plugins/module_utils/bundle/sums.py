# SPDX-License-Identifier: Apache-2.0
"""`checksums/SHA256SUMS`: one line for each file of a bundle, as `sha256sum` writes and checks them."""

from __future__ import annotations

import hashlib
import re
from typing import Dict, List, Mapping, Tuple

from .bundle_path import INDEX, SIGNATURE, SUMS, printable, problem
from .fault import Fault

MOST_BYTES = 16 * 1024 * 1024
_LINE = re.compile(r"([0-9a-f]{64})  (.+)\Z")


def read(content: bytes) -> Tuple[Dict[str, str], List[Fault]]:
    """Path -> sha256 (hex), and what is wrong with the list; a bad line is left out of the first."""
    if len(content) > MOST_BYTES:
        return {}, [_bad(0, f"is larger than {MOST_BYTES} bytes")]
    sums: Dict[str, str] = {}
    faults = []
    lines = content.decode("utf-8", errors="surrogateescape").split("\n")
    if lines[-1]:
        faults.append(_bad(len(lines), "does not end: the file is cut"))
    for number, line in enumerate(lines[:-1], 1):
        match = _LINE.match(line)
        if not match:
            faults.append(_bad(number, "is no sum and path"))
            continue
        sha256, path = match.groups()
        why = "is there twice" if path in sums else problem(path)
        if path in (SUMS, SIGNATURE):
            why = "cannot be in its own list"
        if why:
            faults.append(_bad(number, f"{printable(path)} {why}"))
        else:
            sums[path] = sha256
    if INDEX not in sums and not faults:
        faults.append(_bad(0, f"does not name {INDEX}"))
    return sums, faults


def written(sums: Mapping[str, str]) -> bytes:
    """The list's bytes; the same sums give the same bytes."""
    return "".join(f"{sha256}  {path}\n" for path, sha256 in sorted(sums.items())).encode("ascii")


def digest(content: bytes) -> str:
    """The bundle's digest, `sha256:...`: that of the list of all that is in it."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _bad(number: int, why: str) -> Fault:
    return Fault("bundle_index_invalid", SUMS, f"line {number} {why}" if number else why)
