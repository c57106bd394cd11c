# SPDX-License-Identifier: Apache-2.0
"""What is run as root on directors comes out of a bundle that is whole, and signed where a key is trusted."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.bundle.lock import lock
from ansible_collections.tidegate.deploy.plugins.module_utils.network_entry import parameters
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError
from ansible_collections.tidegate.deploy.plugins.plugin_utils import entry_bundle
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.unit import bundle_folder
from tests.unit.automation.network_entry.documents import document

PROGRAMS = ("keepalived", "ipvsadm")
ENTRY = parameters.parse(document())


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle with the feature, locked."""
    made = bundle_folder.write(
        tmp_path / "bundle",
        artifacts=[
            {"id": "tool", "type": "binary", "path": bundle_folder.TOOL, "mode": "0755"},
            *({"id": one, "type": "archive", "path": f"bin/{one}.tar", "mode": "0644"} for one in PROGRAMS),
        ],
        features={"lvs_vip": {"artifacts": list(PROGRAMS), "inputs": []}},
    )
    for one in PROGRAMS:
        (made / "bin" / f"{one}.tar").write_bytes(one.encode())
    assert lock(str(made))[2] == []
    return made


def found(bundle: Path, *keys: bytes) -> dict[str, Any]:
    trusted = [base64.b64encode(key).decode() for key in keys]
    return entry_bundle.artifacts({"bundle_dir": str(bundle), "bundle_trusted_keys": trusted}, ENTRY)


def refused(bundle: Path, *keys: bytes) -> str:
    with pytest.raises(ReleaseError) as caught:
        found(bundle, *keys)
    return str(caught.value.error_key)


def test_the_programs_are_found_with_their_sums(bundle: Path) -> None:
    assert sorted(found(bundle)) == sorted(PROGRAMS)


def test_a_program_that_was_put_in_with_its_sum_in_the_index_is_refused(bundle: Path) -> None:
    program, index = bundle / "bin" / "keepalived.tar", bundle / "manifests" / "index.yaml"
    before = found(bundle)["keepalived"]["sha256"]
    program.write_bytes(b"something else")
    assert refused(bundle) == "artifact_checksum_mismatch"
    text = index.read_text()
    index.write_text(text.replace(before, "0" * 64))
    assert refused(bundle) == "artifact_checksum_mismatch"


def test_where_a_key_is_trusted_it_must_have_signed(bundle: Path) -> None:
    own, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    keys = [one.public_key().public_bytes_raw() for one in (own, other)]
    assert refused(bundle, keys[0]) == "bundle_signature_invalid"
    sums = bundle / "checksums" / "SHA256SUMS"
    (bundle / "checksums" / "SHA256SUMS.sig").write_text(
        base64.b64encode(own.sign(sums.read_bytes())).decode()
    )
    assert sorted(found(bundle, keys[0])) == sorted(PROGRAMS)
    assert refused(bundle, keys[1]) == "bundle_signature_invalid"
    # Whoever can write in the folder can lock it again, but not sign it.
    (bundle / "bin" / "keepalived.tar").write_bytes(b"something else")
    assert lock(str(bundle))[2] == []
    assert refused(bundle, keys[0]) == "bundle_signature_invalid"


def test_a_bundle_without_the_feature_or_without_a_list_is_refused(bundle: Path, tmp_path: Path) -> None:
    assert refused(tmp_path / "nothing") == "bundle_index_missing"
    (bundle / "checksums" / "SHA256SUMS").unlink()
    assert refused(bundle) == "artifact_missing"
    plain = bundle_folder.write(tmp_path / "plain")
    assert lock(str(plain))[2] == []
    assert refused(plain) == "artifact_missing"
