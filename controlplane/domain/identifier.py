# SPDX-License-Identifier: Apache-2.0
"""Identifiers: a prefix that says what it names, then 48 bits of time and 80 of chance in Crockford base 32.

They sort by the time they were made (the layout of ULID), so an index over them is written at its end.
"""

from __future__ import annotations

import secrets
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_id(prefix: str) -> str:
    """Return `prefix_` and 26 characters."""
    number = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    characters = [_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5)]
    return f"{prefix}_{''.join(characters)}"
