# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from controlplane.adapters.vault import FernetVault, KeyFileUnsafe, init_keys, rotate_keys
from controlplane.ports.vault import VaultError


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    init_keys(path)
    return path


def encoded(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw) + b"\n"


def test_a_new_key_file_is_private_and_is_never_written_over(key_file: Path) -> None:
    assert key_file.stat().st_mode & 0o777 == 0o600
    before = key_file.read_bytes()
    with pytest.raises(FileExistsError):
        init_keys(key_file)
    assert key_file.read_bytes() == before


def test_a_secret_comes_back_and_is_not_in_the_ciphertext(key_file: Path) -> None:
    vault = FernetVault(key_file)
    cipher = vault.encrypt(b"canary")
    assert vault.decrypt(cipher) == b"canary"
    assert b"canary" not in cipher
    assert b"canary" not in base64.urlsafe_b64decode(cipher)


def test_rotation_keeps_secrets_and_digests(key_file: Path) -> None:
    old = FernetVault(key_file)
    cipher, digest = old.encrypt(b"canary"), old.digest(b"canary")
    rotate_keys(key_file)
    assert key_file.stat().st_mode & 0o777 == 0o600
    new = FernetVault(key_file)
    moved = new.rotate(cipher)
    assert new.decrypt(cipher) == new.decrypt(moved) == b"canary"
    assert new.digest(b"canary") == digest
    assert new.hmac_key() == old.hmac_key()
    with pytest.raises(VaultError):
        old.decrypt(moved)
    assert sorted(path.name for path in key_file.parent.iterdir()) == ["keys"]


def test_a_digest_depends_on_secret_and_installation(key_file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    init_keys(other)
    vault = FernetVault(key_file)
    assert vault.digest(b"a").startswith("hmac:")
    assert len(vault.digest(b"a")) == len("hmac:") + 64
    assert vault.digest(b"a") != vault.digest(b"b")
    assert vault.digest(b"a") != FernetVault(other).digest(b"a")


def test_foreign_and_altered_ciphertext_is_refused(key_file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    init_keys(other)
    vault = FernetVault(key_file)
    cipher = vault.encrypt(b"canary")
    for wrong in (FernetVault(other).encrypt(b"canary"), cipher[:-2] + b"xx", b""):
        with pytest.raises(VaultError):
            vault.decrypt(wrong)
        with pytest.raises(VaultError):
            vault.rotate(wrong)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no key"),
        (encoded(bytes(32)), "guessable"),
        (encoded(bytes(range(32))), "guessable"),
        (encoded(b"change-me-change-me-change-me-32"), "guessable"),
        (encoded(bytes.fromhex("a37c5d0e91f24b8866d01fe25c3b9a74")), "16 bytes"),
        (b"changeme\n", "bytes"),
        (b"not base64!\n", "not a base64 key"),
        (b"cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=\n", "published"),
    ],
)
def test_keys_that_are_no_secret_are_refused(key_file: Path, content: bytes, says: str) -> None:
    key_file.write_bytes(content)
    with pytest.raises(KeyFileUnsafe, match=says):
        FernetVault(key_file)


def test_the_same_key_twice_is_refused(key_file: Path) -> None:
    key_file.write_bytes(key_file.read_bytes() * 2)
    with pytest.raises(KeyFileUnsafe, match="twice"):
        FernetVault(key_file)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_a_key_file_open_to_others_is_refused(key_file: Path, mode: int) -> None:
    key_file.chmod(mode)
    with pytest.raises(KeyFileUnsafe, match="chmod 600"):
        FernetVault(key_file)


def test_missing_linked_and_odd_key_files_are_refused(key_file: Path, tmp_path: Path) -> None:
    link, pipe = tmp_path / "link", tmp_path / "pipe"
    link.symlink_to(key_file)
    os.mkfifo(pipe, 0o600)
    for path, says in ((tmp_path / "none", "tidegate init"), (link, "cannot be read"), (pipe, "plain file")):
        with pytest.raises(KeyFileUnsafe, match=says):
            FernetVault(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_key_file_of_another_owner_is_refused(key_file: Path) -> None:
    os.chown(key_file, 65534, 65534)
    with pytest.raises(KeyFileUnsafe, match="belongs to user id 65534"):
        FernetVault(key_file)
