# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with a bundle. All of a bundle's faults are told, not only the first."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Dict, Iterable, List

# The gravest first: what makes everything after it unsure stands before it.
KEYS = (
    "bundle_index_missing",
    "bundle_index_invalid",
    "bundle_signature_invalid",
    "artifact_checksum_mismatch",
    "artifact_unlisted",
    "artifact_missing",
    "hook_missing",
    "artifact_version_unsupported",
)


@dataclass(frozen=True)
class Fault:
    """One of KEYS, the path within the bundle it is about (printable), and a sentence."""

    key: str
    path: str
    message: str

    def document(self) -> Dict[str, str]:
        """The fault as data: `error_key`, `path`, `message`."""
        told = asdict(self)
        return {"error_key": told.pop("key"), **told}


def ordered(faults: Iterable[Fault]) -> List[Fault]:
    """The faults, the gravest first and then by path. What is wrong with a file in one way is told once."""
    told = {}
    for one in faults:
        # Of the index and the list there is more to say than that they are not valid.
        told.setdefault((one.key, one.path, one.message if one.key == "bundle_index_invalid" else ""), one)
    return sorted(told.values(), key=lambda one: (KEYS.index(one.key), one.path, one.message))


def summary(faults: List[Fault], most: int = 5) -> str:
    """The first few faults in one sentence, for a message."""
    told = "; ".join(f"{one.path}: {one.message}" for one in faults[:most])
    more = len(faults) - most
    return f"{told}; and {more} more" if more > 0 else told
