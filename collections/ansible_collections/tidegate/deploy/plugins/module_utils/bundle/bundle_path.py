# SPDX-License-Identifier: Apache-2.0
"""Which names a file of a bundle may have: plain ones, which mean the same to every program that meets them."""

from __future__ import annotations

import re
from typing import Optional

INDEX = "manifests/index.yaml"
SUMS = "checksums/SHA256SUMS"
SIGNATURE = "checksums/SHA256SUMS.sig"
# What is in these folders needs no entry in the index; everything else is an artifact.
OWN_FOLDERS = ("manifests", "templates", "hooks", "checksums")
MOST_BYTES = 400
MOST_LEVELS = 10
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+~@=-]*\Z")


def problem(path: object) -> Optional[str]:
    """Why `path` is no path within a bundle; None when it is one.

    Relative, with `/` between names of ASCII letters, digits and `._+~@=-` that start with a letter, a digit or
    an underscore: so no `..`, no hidden file, nothing that looks like an option, no NUL and no line break.
    """
    if not isinstance(path, str) or not path:
        return "is no path"
    if len(path.encode(errors="surrogateescape")) > MOST_BYTES:
        return f"is longer than {MOST_BYTES} bytes"
    if path.startswith("/"):
        return "is absolute"
    names = path.split("/")
    if ".." in names:
        return "leaves the bundle"
    if len(names) > MOST_LEVELS:
        return f"is more than {MOST_LEVELS} levels deep"
    if not all(_NAME.match(name) for name in names):
        return "holds a name with other characters than letters, digits and ._+~@=-, or one that starts with . or -"
    return None


def printable(path: str) -> str:
    """A path as it can be shown: whatever steers a terminal or breaks a line is an escape."""
    return path.encode("unicode_escape", errors="backslashreplace").decode("ascii")[: MOST_BYTES + 100]


def is_artifact(path: str) -> bool:
    """Whether a file there must be named by an artifact of the index."""
    return path.split("/", 1)[0] not in OWN_FOLDERS or "/" not in path
