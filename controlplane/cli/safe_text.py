# SPDX-License-Identifier: Apache-2.0
"""Text from a server or a host on its way to a terminal: nothing in it may steer that terminal."""

from __future__ import annotations

import unicodedata
from typing import Any

# Written right to left, a name can look like another one.
_DIRECTION = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def line(value: Any, longest: int = 2000) -> str:
    """Return a value on one line, with control and direction characters shown as escapes, cut at `longest`."""
    text = "-" if value is None else str(value)
    if len(text) > longest:
        text = text[: longest - 1] + "…"
    return "".join(_shown(character) for character in text)


def block(value: Any) -> str:
    """Return a value with its line breaks and tabs, all other control characters as escapes."""
    return "\n".join(line(part.replace("\t", "    "), 10_000) for part in str(value).split("\n"))


def _shown(character: str) -> str:
    if character in _DIRECTION or unicodedata.category(character) in ("Cc", "Cs", "Co", "Zl", "Zp"):
        code = ord(character)
        return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
    return character
