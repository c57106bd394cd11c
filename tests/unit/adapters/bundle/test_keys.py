# SPDX-License-Identifier: Apache-2.0
"""Keys are made once, read with their passphrase only, and sign nothing that has faults."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest

from controlplane.adapters.bundle import keys, rules
from controlplane.domain.errors import Problem
from tests.unit.bundle_folder import TOOL

from .conftest import Make


def test_a_key_is_for_its_owner_only_and_never_overwritten(tmp_path: Path) -> None:
    public_file, public = keys.make(tmp_path / "key", None)
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert keys.trusted([str(public_file)]) == keys.trusted([public]) == [base64.b64decode(public)]
    for there in ("key", "key.pub"):
        (tmp_path / there).unlink()
        with pytest.raises(FileExistsError):
            keys.make(tmp_path / "key", None)
        (tmp_path / there).write_text("")


def test_a_key_with_a_passphrase_is_read_with_it_only(tmp_path: Path) -> None:
    keys.make(tmp_path / "key", b"right")
    assert keys.read(tmp_path / "key", b"right")
    for wrong in (b"wrong", None):
        with pytest.raises(Problem):
            keys.read(tmp_path / "key", wrong)


def test_the_signature_is_what_others_can_check(make: Make, tmp_path: Path) -> None:
    bundle = make()
    keys.make(tmp_path / "key", None)
    signature = keys.sign(bundle, keys.read(tmp_path / "key", None))
    (tmp_path / "raw").write_bytes(base64.b64decode(signature.read_bytes()))
    subprocess.run(
        ["openssl", "pkeyutl", "-verify", "-inkey", str(tmp_path / "key"), "-rawin", "-in",
         str(bundle / "checksums/SHA256SUMS"), "-sigfile", str(tmp_path / "raw")],
        check=True,
    )  # fmt: skip


def test_keys_of_openssh_and_pem_are_taken_and_others_are_not(make: Make, tmp_path: Path) -> None:
    bundle = make()
    for kind in ("ed25519", "ecdsa"):
        subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(tmp_path / kind)], check=True)
    keys.sign(bundle, keys.read(tmp_path / "ed25519", None))
    trusted = keys.trusted([str(tmp_path / "ed25519.pub")])
    assert rules.part("inspection").inspect(str(bundle), trusted).signed_by == trusted[0].hex()
    with pytest.raises(Problem):
        keys.read(tmp_path / "ecdsa", None)
    for word in (str(tmp_path / "ecdsa.pub"), str(tmp_path / "none"), "AAAA", str(tmp_path)):
        with pytest.raises(Problem) as caught:
            keys.trusted([word])
        assert caught.value.error_key == "bundle_signature_invalid"


def test_a_bundle_with_faults_is_not_signed(make: Make, tmp_path: Path) -> None:
    bundle = make()
    (bundle / TOOL).write_text("other")
    keys.make(tmp_path / "key", None)
    with pytest.raises(Problem) as caught:
        keys.sign(bundle, keys.read(tmp_path / "key", None))
    assert caught.value.error_key == "artifact_checksum_mismatch"
    assert not (bundle / "checksums/SHA256SUMS.sig").exists()
