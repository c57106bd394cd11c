# SPDX-License-Identifier: Apache-2.0
"""Passwords of users, kept as argon2id hashes."""

from __future__ import annotations

from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

# OWASP's second choice for argon2id: 19 MiB a hash keeps the server's memory small under a burst of logins.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


def hash_password(password: str) -> str:
    """Return an argon2id hash that carries its own salt and parameters."""
    return _HASHER.hash(password)


def verify_password(password: str, kept_hash: str | None) -> bool:
    """Compare. Without a hash (no such user) it takes as long as with one and is false."""
    try:
        matched = _HASHER.verify(kept_hash or _nobody(), password)
    except (VerificationError, InvalidHashError):
        return False
    return matched and kept_hash is not None


def needs_rehash(kept_hash: str) -> bool:
    """Whether the hash was made with other parameters than today's: hash again at the next good login."""
    return _HASHER.check_needs_rehash(kept_hash)


@cache
def _nobody() -> str:
    return _HASHER.hash("")
