# SPDX-License-Identifier: Apache-2.0
"""ed25519 keys that bundles are signed with: made, read, used."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_ssh_private_key,
)

from controlplane.adapters.bundle import rules
from controlplane.domain.errors import Problem


def make(path: Path, passphrase: bytes | None) -> tuple[Path, str]:
    """Write a new private key (PEM, 0600) and, beside it, its public key; return that file and the key as base64.

    Raises:
        FileExistsError: there is a key already; it is never overwritten.
    """
    key = Ed25519PrivateKey.generate()
    protection: KeySerializationEncryption = (
        BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    )
    public = base64.b64encode(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
    public_path = path.with_name(path.name + ".pub")
    if public_path.exists():
        raise FileExistsError(f"{public_path} exists")
    _write_new(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection), 0o600)
    _write_new(public_path, f"{public}\n".encode(), 0o644)
    return public_path, public


def read(path: Path, passphrase: bytes | None) -> Ed25519PrivateKey:
    """Return the private key in a file (PEM or OpenSSH).

    Raises:
        Problem: `bundle_signature_invalid` when it is none, is for another algorithm, or the passphrase is wrong.
    """
    try:
        content = path.read_bytes()
        load = load_ssh_private_key if b"OPENSSH" in content[:64] else load_pem_private_key
        key = load(content, passphrase)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        hint = "Name the file that `tidegate bundle keygen` wrote, and its passphrase when it has one."
        raise Problem(
            "bundle_signature_invalid", f"{path} cannot be read as a key: {error}", hint=hint
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise Problem("bundle_signature_invalid", f"{path} is for another algorithm than ed25519")
    return key


def sign(folder: Path, key: Ed25519PrivateKey) -> Path:
    """Sign a bundle's list of sums and return the signature's file.

    Raises:
        Problem: the bundle has faults. What is not whole is not signed.
    """
    paths = rules.part("bundle_path")
    found = rules.part("inspection").inspect(str(folder))
    if found.faults:
        told = rules.part("fault").summary(found.faults)
        raise Problem(found.faults[0].key, told, extra={"faults": [one.document() for one in found.faults]})
    signature = base64.b64encode(key.sign((folder / paths.SUMS).read_bytes())) + b"\n"
    goal: Path = folder / paths.SIGNATURE
    making = goal.with_name(goal.name + ".making")
    making.write_bytes(signature)
    making.replace(goal)
    return goal


def trusted(named: Sequence[str]) -> list[bytes]:
    """Return the public keys of files or base64 words.

    Raises:
        Problem: `bundle_signature_invalid` naming what is no key.
    """
    try:
        keys: list[bytes] = rules.part("signature").trusted_keys(named)
    except Exception as error:
        raise rules.refusal(error) from None
    return keys


def _write_new(path: Path, content: bytes, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
