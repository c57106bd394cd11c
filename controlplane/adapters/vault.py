# SPDX-License-Identifier: Apache-2.0
"""Secrets at rest under the keys of a file that only its owner can read."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import stat
from itertools import pairwise
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from controlplane.ports.vault import VaultError

_KEY_BYTES = 32
_MAX_FILE_BYTES = 64 * 1024

# Keys printed in documentation: they are everybody's.
_PUBLISHED = frozenset(
    {
        "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=",  # the Fernet specification's test vector
        "46BKJoQYlPPOexq0OhDZnIlNepKFf87WFwLbfzqDDho=",  # a compose file that many have copied
    }
)


class KeyFileUnsafe(Exception):
    """The key file is missing, or others can read it, or its keys are no secret. The message says what to do."""


class FernetVault:
    """Encrypts under the first key of the file and decrypts under any of them.

    The digest key comes from the last line, the oldest key, so that rotation keeps digests comparable.
    """

    def __init__(self, key_file: Path) -> None:
        """Read the keys.

        Raises:
            KeyFileUnsafe: missing, readable by others, of another owner, or with a key that is no secret.
        """
        keys = read_keys(key_file)
        self._fernet = MultiFernet([Fernet(key) for key in keys])
        oldest = base64.urlsafe_b64decode(keys[-1])
        self._hmac_key = HKDF(SHA256(), _KEY_BYTES, salt=None, info=b"tidegate secret digest v1").derive(
            oldest
        )

    def encrypt(self, plain: bytes) -> bytes:
        """Return ciphertext that `decrypt` of the same installation opens."""
        return self._fernet.encrypt(plain)

    def decrypt(self, cipher: bytes) -> bytes:
        """Return what was encrypted. Raises VaultError when no key opens it."""
        try:
            return self._fernet.decrypt(cipher)
        except InvalidToken:
            raise VaultError("no key of this installation opens this secret") from None

    def rotate(self, cipher: bytes) -> bytes:
        """Return the same secret under the newest key. Raises VaultError when no key opens it."""
        try:
            return self._fernet.rotate(cipher)
        except InvalidToken:
            raise VaultError("no key of this installation opens this secret") from None

    def digest(self, plain: bytes) -> str:
        """Return `hmac:` and the hex HMAC-SHA256 of the secret."""
        return "hmac:" + hmac.new(self._hmac_key, plain, hashlib.sha256).hexdigest()

    def hmac_key(self) -> bytes:
        """Return the key that `digest` uses."""
        return self._hmac_key


def init_keys(path: Path) -> None:
    """Make a key file with one new key, mode 0600.

    Raises:
        FileExistsError: there is one already; making another would lose every secret under it.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write_new(path, [Fernet.generate_key()])
    _sync_folder(path.parent)


def rotate_keys(path: Path) -> None:
    """Put a new key before the others. Old ones stay: they open what is not yet encrypted again.

    Raises:
        KeyFileUnsafe: as reading does.
    """
    keys = [Fernet.generate_key(), *read_keys(path)]
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    _write_new(fresh, keys)
    os.replace(fresh, path)
    _sync_folder(path.parent)


def read_keys(path: Path) -> list[bytes]:
    """Return the keys of a file, newest first.

    Raises:
        KeyFileUnsafe: the file or a key in it is not fit to keep secrets.
    """
    content = _read_private(path)
    keys = [line.strip() for line in content.splitlines() if line.strip()]
    if not keys:
        raise KeyFileUnsafe(f"key file {path} has no key in it: restore it, or make one with `tidegate init`")
    for number, key in enumerate(keys, 1):
        _check_key(path, number, key)
    if len(set(keys)) != len(keys):
        raise KeyFileUnsafe(f"key file {path} has the same key twice: remove the second")
    return keys


def _read_private(path: Path) -> bytes:
    try:
        # Opened before it is looked at: what is checked is what is read.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise KeyFileUnsafe(f"key file {path} is missing: make one with `tidegate init`") from None
    except OSError as error:
        raise KeyFileUnsafe(f"key file {path} cannot be read: {error.strerror}") from None
    with os.fdopen(handle, "rb") as file:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode):
            raise KeyFileUnsafe(f"key file {path} is not a plain file")
        if facts.st_uid != os.geteuid():
            raise KeyFileUnsafe(
                f"key file {path} belongs to user id {facts.st_uid}, not to {os.geteuid()} that runs this: chown it"
            )
        if facts.st_mode & 0o077:
            mode = stat.S_IMODE(facts.st_mode)
            raise KeyFileUnsafe(f"key file {path} is open to others (mode {mode:04o}): chmod 600 it")
        if facts.st_size > _MAX_FILE_BYTES:
            raise KeyFileUnsafe(f"key file {path} is too large to be one")
        return file.read(_MAX_FILE_BYTES)


def _check_key(path: Path, number: int, key: bytes) -> None:
    where = f"key file {path}, line {number}"
    advice = "make a key with `tidegate init`"
    try:
        raw = base64.b64decode(key, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise KeyFileUnsafe(f"{where}: not a base64 key: {advice}") from None
    if len(raw) != _KEY_BYTES:
        raise KeyFileUnsafe(f"{where}: {len(raw)} bytes, a key has {_KEY_BYTES}: {advice}")
    if key.decode() in _PUBLISHED:
        raise KeyFileUnsafe(f"{where}: a key that is published in documentation: {advice}")
    # 32 random bytes have fewer than 16 different values once in 10^13 keys, and are all printable as rarely.
    if len(set(raw)) < 16 or all(32 <= byte < 127 for byte in raw) or _is_counted(raw):
        raise KeyFileUnsafe(f"{where}: a default or guessable key, not a random one: {advice}")


def _is_counted(raw: bytes) -> bool:
    return len({(after - before) % 256 for before, after in pairwise(raw)}) <= 2


def _write_new(path: Path, keys: list[bytes]) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        os.fchmod(handle, 0o600)
        file.write(b"".join(key + b"\n" for key in keys))
        file.flush()
        os.fsync(handle)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
