# SPDX-License-Identifier: Apache-2.0
"""API tokens: `tg_` + a prefix that may be shown + a secret of which only the hash is kept."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import NamedTuple

_SHAPE = re.compile(r"tg_([0-9a-f]{8})_([A-Za-z0-9_-]{43})")


class NewToken(NamedTuple):
    """A token just made: `text` is shown once, `prefix` and `secret_hash` are kept."""

    text: str
    prefix: str
    secret_hash: str


def new_token() -> NewToken:
    """Make a token with 256 random bits. They need no slow hash: there is nothing to guess from."""
    prefix = secrets.token_hex(4)
    text = f"tg_{prefix}_{secrets.token_urlsafe(32)}"
    return NewToken(text, prefix, _hash(text))


def parse(text: str) -> tuple[str, str] | None:
    """Return prefix and secret, or None for what is no token of ours."""
    found = _SHAPE.fullmatch(text)
    return (found[1], found[2]) if found else None


def matches(text: str, secret_hash: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(_hash(text), secret_hash)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
