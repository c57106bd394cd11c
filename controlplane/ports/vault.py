# SPDX-License-Identifier: Apache-2.0
"""Secrets at rest, and the keyed digest that stands for a secret where it must not be shown."""

from __future__ import annotations

from typing import Protocol


class Vault(Protocol):
    """Encrypts under the newest key of the installation and decrypts under any of its keys."""

    def encrypt(self, plain: bytes) -> bytes:
        """Return ciphertext that `decrypt` of the same installation opens."""
        ...

    def decrypt(self, cipher: bytes) -> bytes:
        """Return what was encrypted.

        Raises:
            VaultError: no key of the installation opens it.
        """
        ...

    def rotate(self, cipher: bytes) -> bytes:
        """Return the same secret encrypted under the newest key."""
        ...

    def digest(self, plain: bytes) -> str:
        """Return `hmac:` and the hex HMAC-SHA256 under a key derived from the installation's oldest key."""
        ...

    def hmac_key(self) -> bytes:
        """Return the key that `digest` uses, for handing to a playbook through its environment."""
        ...


class VaultError(Exception):
    """The ciphertext was not made by this installation, or was altered."""
