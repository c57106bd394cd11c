# SPDX-License-Identifier: Apache-2.0
"""What the exit codes of `tidegate bundle` say. README shows this table."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum


class BundleOutcome(IntEnum):
    """The exit code for each kind of fault. Of several kinds the gravest is told: the one with the least number."""

    BUNDLE_INDEX_MISSING = 20
    """There is no bundle, or it has no manifests/index.yaml."""
    BUNDLE_INDEX_INVALID = 21
    """The index or the list of sums is not what it must be, or does not know what an artifact is."""
    BUNDLE_SIGNATURE_INVALID = 22
    """No trusted key signed these sums, or a key cannot be used."""
    ARTIFACT_CHECKSUM_MISMATCH = 23
    """A file is not what was locked: altered, cut, or replaced by a link."""
    ARTIFACT_UNLISTED = 24
    """The bundle holds something that is not listed, or no file may have that name."""
    ARTIFACT_MISSING = 25
    """A file is not there."""
    HOOK_MISSING = 26
    """A hook that a step names is not there."""
    ARTIFACT_VERSION_UNSUPPORTED = 27
    """The bundle has not the version that was asked for, or blocks it."""


def of_keys(error_keys: Iterable[str]) -> int:
    """Return the exit code for these error keys; 0 for none, 9 when none of them is a bundle's."""
    keys = list(error_keys)
    known = [int(one) for one in BundleOutcome if one.name.lower() in keys]
    return min(known, default=9 if keys else 0)
