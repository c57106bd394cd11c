# SPDX-License-Identifier: Apache-2.0
"""The detached ed25519 signature of a bundle's list of sums: base64 text of 64 bytes."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Iterable, List, Optional

from ..release.errors import ReleaseError

try:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        PublicFormat,
        load_pem_public_key,
        load_ssh_public_key,
    )
except ImportError:
    Ed25519PublicKey = None

_KEY_FILE_BYTES = 64 * 1024
_SIGNATURE_BYTES = 64


def public_key(text: str) -> bytes:
    """A public key's 32 bytes, from base64 of them, PEM, or a line `ssh-ed25519 ...`. Raises ReleaseError."""
    _require_library()
    text = text.strip()
    try:
        if text.startswith("-----BEGIN") or text.startswith("ssh-"):
            read = load_pem_public_key if text.startswith("-----") else load_ssh_public_key
            key = read(text.encode())
            if not isinstance(key, Ed25519PublicKey):
                raise ValueError("it is for another algorithm")
            return key.public_bytes(Encoding.Raw, PublicFormat.Raw)
        raw = base64.b64decode(text, validate=True)
        if len(raw) != 32:
            raise ValueError("it has not 32 bytes")
        return raw
    except (ValueError, UnsupportedAlgorithm, binascii.Error) as error:
        raise ReleaseError(
            "bundle_signature_invalid", f"a trusted key is no ed25519 public key: {error}",
            "Name a file that `tidegate bundle keygen` wrote, PEM, or 32 bytes as base64.",
        ) from None  # fmt: skip


def trusted_keys(named: Iterable[str]) -> List[bytes]:
    """The public keys of these files or base64 words. Raises ReleaseError naming what is no key."""
    keys = []
    for one in named:
        try:
            keys.append(public_key(one))
            continue
        except ReleaseError:
            pass
        try:
            with Path(one).expanduser().open(encoding="utf-8") as file:
                text = file.read(_KEY_FILE_BYTES)
        except (OSError, ValueError) as error:
            raise ReleaseError("bundle_signature_invalid", f"trusted key {one!r}: {error}") from None
        keys.append(public_key(text))
    return keys


def signer(signed: bytes, signature: bytes, trusted: Iterable[bytes]) -> Optional[bytes]:
    """The trusted key that made the signature; None when none of them did."""
    _require_library()
    try:
        raw = base64.b64decode(signature.strip(), validate=True)
    except (ValueError, binascii.Error):
        return None
    if len(raw) != _SIGNATURE_BYTES:
        return None
    for key in trusted:
        try:
            Ed25519PublicKey.from_public_bytes(key).verify(raw, signed)
            return key
        except InvalidSignature:
            continue
    return None


def _require_library() -> None:
    if Ed25519PublicKey is None:
        raise ReleaseError(
            "bundle_signature_invalid", "signatures cannot be checked here",
            "Install the Python package cryptography on the controller.",
        )  # fmt: skip
