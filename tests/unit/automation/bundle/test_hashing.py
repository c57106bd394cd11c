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
from ansible_collections.tidegate.deploy.plugins.plugin_utils import (
    bundle_hashing,
    bundle_source,
    hashed_files,
)

from .small_bundle import TOOL, make


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
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


def another_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ansible's own folder ends with a run."""
    folder = tmp_path / "another"
    folder.mkdir(exist_ok=True)
    (folder / "tidegate-hashed.json").unlink(missing_ok=True)
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(folder))


def settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take every file for one that nobody wrote to for long."""
    monkeypatch.setattr(bundle_hashing, "SETTLED_NS", 0)


def test_the_next_run_need_not_hash_again_what_nobody_touched(
    tmp_path: Path,
    known: Callable[[], dict[str, Any]],
    hashed: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settle(monkeypatch)
    bundle_hashing.require(known(), [TOOL])
    another_run(tmp_path, monkeypatch)
    bundle_hashing.require(known(), [TOOL])
    assert hashed.count(TOOL) == 1
    bundle_hashing.require(known(), [TOOL], afresh=True)
    assert hashed.count(TOOL) == 2


def test_a_change_that_keeps_size_and_time_is_found_by_the_next_run(
    folder: Path,
    tmp_path: Path,
    known: Callable[[], dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settle(monkeypatch)
    bundle_hashing.require(known(), [TOOL])
    when = (folder / TOOL).stat()
    (folder / TOOL).write_bytes(b"b tool")
    os.utime(folder / TOOL, ns=(when.st_atime_ns, when.st_mtime_ns))
    another_run(tmp_path, monkeypatch)
    with pytest.raises(ReleaseError, match="is not what"):
        bundle_hashing.require(known(), [TOOL])


def test_a_file_that_was_just_written_is_hashed_by_the_next_run_too(
    tmp_path: Path,
    known: Callable[[], dict[str, Any]],
    hashed: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle_hashing.require(known(), [TOOL])
    another_run(tmp_path, monkeypatch)
    bundle_hashing.require(known(), [TOOL])
    assert hashed.count(TOOL) == 2


@pytest.mark.parametrize("kept", ["", "no json", "[]", '{"boot": "another", "files": {}}', '{"files": 5}'])
def test_a_memory_of_another_boot_or_one_that_is_spoilt_is_none(
    tmp_path: Path, kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    hashed_files.keep({"a": "1"})
    assert hashed_files.recall() == {"a": "1"}
    (tmp_path / "tidegate" / "hashed.json").write_text(kept)
    assert hashed_files.recall() == {}
    hashed_files.keep({"b": "2"})
    assert hashed_files.recall() == {"b": "2"}


def test_without_a_cache_each_run_hashes_for_itself(
    tmp_path: Path,
    known: Callable[[], dict[str, Any]],
    hashed: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settle(monkeypatch)
    (tmp_path / "no-folder").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "no-folder"))
    bundle_hashing.require(known(), [TOOL])
    another_run(tmp_path, monkeypatch)
    bundle_hashing.require(known(), [TOOL])
    assert hashed.count(TOOL) == 2
