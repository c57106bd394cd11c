# SPDX-License-Identifier: Apache-2.0
"""Secrets that are made to be found: each has a mark that is nowhere else, and is looked for in every spelling."""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import quote, quote_plus

# Characters that shells, JSON, URLs, Compose and Jinja spell differently.
AWKWARD = "\"\\$HOME&%20'{{ x }}"


@dataclass(frozen=True, order=True)
class Finding:
    """A secret that was seen where it should not be; `spelling` says how it was written there."""

    secret: str
    place: str
    spelling: str


def word(name: str, awkward: bool = True) -> str:
    """Return a new secret: the part that tells it is 16 hexadecimal digits, in the middle."""
    mark = secrets.token_hex(8)
    return f"canary {name} {mark}{AWKWARD}" if awkward else f"canary-{mark}"


def spellings(text: str) -> dict[str, set[bytes]]:
    """Return how a text may be written: as it is, escaped, in hexadecimal, or inside any base64."""
    raw = text.encode()
    escaped = {json.dumps(text)[1:-1], json.dumps(json.dumps(text)[1:-1])[1:-1], repr(text)[1:-1]}
    return {
        "plain": {raw},
        "escaped": {one.encode() for one in escaped | {text.replace("$", "$$")}} - {raw},
        "url": {quote(text, safe="").encode(), quote(text).encode(), quote_plus(text).encode()} - {raw},
        "hex": {raw.hex().encode(), raw.hex().upper().encode()},
        "base64": _base64(raw),
    }


def _base64(raw: bytes) -> set[bytes]:
    """What is sure to be in the base64 of anything that holds `raw`, at each of the three places it may begin."""
    found = set()
    for before in range(3):
        text = base64.b64encode(b"\0" * before + raw)
        sure = text[(before * 8 + 5) // 6 : (before + len(raw)) * 8 // 6]
        found |= {sure, sure.replace(b"+", b"-").replace(b"/", b"_")}
    return found


@dataclass
class Canaries:
    """The secrets that were planted, by name."""

    marks: dict[str, str] = field(default_factory=dict)
    _pattern: re.Pattern[bytes] | None = None
    _known: dict[bytes, tuple[str, str]] = field(default_factory=dict)

    def plant(self, name: str, awkward: bool = True) -> str:
        """Return a new secret, and look for it from now on."""
        secret = word(name, awkward)
        match = re.search(r"[0-9a-f]{16}", secret)
        assert match
        self.watch(name, match[0])
        return secret

    def watch(self, name: str, mark: str) -> None:
        """Look for a text of which nothing may be seen anywhere."""
        assert len(mark) >= 16, "what is shorter could be there by chance"
        self.marks[name] = mark
        for spelling, texts in spellings(mark).items():
            self._known |= dict.fromkeys(texts, (name, spelling))
        self._pattern = re.compile(b"|".join(re.escape(text) for text in self._known))

    def seen(self, place: str, content: bytes) -> set[Finding]:
        """Return which of them are in this content."""
        assert self._pattern, "nothing was planted"
        known = (self._known[text] for text in set(self._pattern.findall(content)))
        return {Finding(name, place, spelling) for name, spelling in known}

    def seen_in(self, places: Iterable[tuple[str, bytes]]) -> set[Finding]:
        """Return which of them are where."""
        return {finding for place, content in places for finding in self.seen(place, content)}
