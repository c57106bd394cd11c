# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from argon2 import PasswordHasher

from controlplane.adapters.passwords import hash_password, needs_rehash, verify_password


def test_only_the_right_password_matches() -> None:
    kept = hash_password("right")
    assert kept.startswith("$argon2id$")
    assert kept != hash_password("right")
    assert verify_password("right", kept)
    assert not verify_password("wrong", kept)
    assert not verify_password("", None)
    assert not verify_password("right", "no hash")


def test_hashes_of_other_parameters_are_to_be_made_again() -> None:
    weak = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash("right")
    assert verify_password("right", weak)
    assert needs_rehash(weak)
    assert not needs_rehash(hash_password("right"))
