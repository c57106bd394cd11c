# SPDX-License-Identifier: Apache-2.0
"""Large files of a bundle that no host is sent are hashed on the controller, once in a run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible import constants
from ansible_collections.tidegate.deploy.plugins.module_utils.bundle import folder as folders
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError
from ansible_collections.tidegate.deploy.plugins.plugin_utils import bundle_hashing, bundle_source

from .small_bundle import TOOL, make


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(tmp_path))
    monkeypatch.setattr(bundle_source, "LARGE_BYTES", len(b"a tool"))
    return make(tmp_path / "bundle")


@pytest.fixture
def known(folder: Path) -> Callable[[], dict[str, Any]]:
    asked = dict.fromkeys([*bundle_source.ARGUMENTS, "result_dir"])
    return lambda: bundle_source.verified({**asked, "bundle_dir": str(folder)}, large_later=True)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    real, told = folders._digest, []

    def spy(folder: str, path: str, said: Any) -> Any:
        told.append(path)
        return real(folder, path, said)

    monkeypatch.setattr(folders, "_digest", spy)
    return told


def test_a_file_is_hashed_once_for_all_hosts(known: Callable[[], dict[str, Any]], hashed: list[str]) -> None:
    found = known()
    assert TOOL in found["unhashed"]
    assert TOOL not in hashed
    for _host in range(3):
        bundle_hashing.require(found, [TOOL])
    assert hashed.count(TOOL) == 1


def test_a_byte_that_was_changed_is_found_when_the_file_is_hashed(
    folder: Path, known: Callable[[], dict[str, Any]]
) -> None:
    (folder / TOOL).write_bytes(b"b tool")
    found = known()
    bundle_hashing.require(found, [])
    for _host in range(2):
        with pytest.raises(ReleaseError, match=TOOL) as caught:
            bundle_hashing.require(found, [TOOL])
        assert caught.value.error_key == "artifact_checksum_mismatch"
        assert caught.value.detail["faults"][0]["path"] == TOOL


def test_what_was_touched_since_is_not_taken_for_what_was_hashed(
    folder: Path, known: Callable[[], dict[str, Any]]
) -> None:
    first = known()
    bundle_hashing.require(first, [TOOL])
    when = (folder / TOOL).stat()
    (folder / TOOL).write_bytes(b"b tool")
    os.utime(folder / TOOL, ns=(when.st_atime_ns, when.st_mtime_ns))
    with pytest.raises(ReleaseError, match="changed since"):
        bundle_hashing.require(first, [TOOL])
    with pytest.raises(ReleaseError, match="is not what"):
        bundle_hashing.require(known(), [TOOL])


def test_a_large_file_of_another_size_than_the_index_says_is_refused_unhashed(
    folder: Path, known: Callable[[], dict[str, Any]], hashed: list[str]
) -> None:
    (folder / TOOL).write_bytes(b"a longer tool")
    with pytest.raises(ReleaseError, match=TOOL) as caught:
        known()
    assert caught.value.error_key == "artifact_checksum_mismatch"
    assert TOOL not in hashed


def test_a_bundle_that_is_verified_at_once_leaves_nothing_for_later(folder: Path) -> None:
    asked = {**dict.fromkeys([*bundle_source.ARGUMENTS, "result_dir"]), "bundle_dir": str(folder)}
    assert bundle_source.verified(asked)["unhashed"] == []
    (folder / TOOL).write_bytes(b"b tool")
    with pytest.raises(ReleaseError):
        bundle_source.verified(asked)
