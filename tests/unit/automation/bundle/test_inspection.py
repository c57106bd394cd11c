# SPDX-License-Identifier: Apache-2.0
"""Every fault of a bundle is found, by its key, and all of them at once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.bundle import sums
from ansible_collections.tidegate.deploy.plugins.module_utils.bundle.bundle_path import INDEX, SIGNATURE, SUMS
from ansible_collections.tidegate.deploy.plugins.module_utils.bundle.inspection import inspect
from ansible_collections.tidegate.deploy.plugins.module_utils.bundle.lock import lock

from .small_bundle import TOOL, faults, make


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make(tmp_path / "bundle")


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


def replaced_by_link(path: Path) -> None:
    aside = path.parent.parent.parent.parent / "aside"
    path.rename(aside)
    path.symlink_to(aside)


def folder_replaced_by_link(bundle: Path) -> None:
    shutil.move(bundle / "templates", bundle.parent / "aside")
    (bundle / "templates").symlink_to(bundle.parent / "aside")


def same_length(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)


def test_a_whole_bundle_has_no_fault(bundle: Path) -> None:
    found = inspect(str(bundle))
    assert found.faults == []
    assert found.digest == sums.digest((bundle / SUMS).read_bytes())
    assert inspect(str(bundle) + "/").faults == []


SPOILT: dict[str, tuple[Callable[[Path], object], tuple[str, str]]] = {
    "missing": (lambda b: (b / TOOL).unlink(), ("artifact_missing", TOOL)),
    "template missing": (lambda b: (b / "templates/a.j2").unlink(), ("artifact_missing", "templates/a.j2")),
    "altered": (lambda b: same_length(b / TOOL), ("artifact_checksum_mismatch", TOOL)),
    "longer": (lambda b: append(b / "templates/a.j2", "x"), ("artifact_checksum_mismatch", "templates/a.j2")),
    "linked": (lambda b: replaced_by_link(b / TOOL), ("artifact_checksum_mismatch", TOOL)),
    "folder linked": (folder_replaced_by_link, ("artifact_unlisted", "templates")),
    "pipe": (lambda b: os.mkfifo(b / "bin/p"), ("artifact_unlisted", "bin/p")),
    "extra": (lambda b: (b / "bin/extra").write_text("x"), ("artifact_unlisted", "bin/extra")),
    "extra at the top": (lambda b: (b / "README").write_text("x"), ("artifact_unlisted", "README")),
    "hidden": (lambda b: (b / "hooks/.x").write_text("x"), ("artifact_unlisted", "hooks/.x")),
    "line break": (lambda b: (b / "hooks/a\nb").write_text("x"), ("artifact_unlisted", "hooks/a\\nb")),
    "hook missing": (lambda b: (b / "hooks/look.sh").unlink(), ("hook_missing", "hooks/look.sh")),
    "index missing": (lambda b: (b / INDEX).unlink(), ("bundle_index_missing", INDEX)),
    "index altered": (lambda b: append(b / INDEX, "\n"), ("artifact_checksum_mismatch", INDEX)),
    "index no YAML": (lambda b: (b / INDEX).write_text("a: [") or b, ("bundle_index_invalid", INDEX)),
    "sums missing": (lambda b: (b / SUMS).unlink(), ("artifact_missing", SUMS)),
    "sums cut": (
        lambda b: (b / SUMS).write_text((b / SUMS).read_text()[:-3]),
        ("bundle_index_invalid", SUMS),
    ),
    "escaping": (lambda b: append(b / SUMS, "0" * 64 + "  ../x\n"), ("bundle_index_invalid", SUMS)),
    "absolute": (lambda b: append(b / SUMS, "0" * 64 + "  /etc/x\n"), ("bundle_index_invalid", SUMS)),
    "NUL": (lambda b: append(b / SUMS, "0" * 64 + "  a\0b\n"), ("bundle_index_invalid", SUMS)),
    "promised": (lambda b: append(b / SUMS, "0" * 64 + "  images/a\n"), ("artifact_missing", "images/a")),
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_spoilt_bundle_is_told_by_its_key(bundle: Path, how: str) -> None:
    spoil, expected = SPOILT[how]
    spoil(bundle)
    assert expected in faults(bundle)


def test_the_fault_is_told_once_where_one_thing_is_wrong(bundle: Path) -> None:
    (bundle / TOOL).unlink()
    assert faults(bundle) == [("artifact_missing", TOOL)]
    make(bundle)
    (bundle / "hooks/look.sh").unlink()
    assert faults(bundle) == [("hook_missing", "hooks/look.sh")]


def test_all_faults_are_told_the_gravest_first(bundle: Path) -> None:
    (bundle / "bin/extra").write_text("x")
    (bundle / TOOL).write_text("other")
    (bundle / "hooks/look.sh").unlink()
    (bundle / "templates/a.j2").unlink()
    keys = [key for key, _path in faults(bundle, runtime=("compose", "9"))]
    assert keys[0] == "artifact_checksum_mismatch"
    assert set(keys) == {
        "artifact_checksum_mismatch", "artifact_unlisted", "artifact_missing", "hook_missing",
        "artifact_version_unsupported",
    }  # fmt: skip


def test_a_sum_that_was_changed_along_with_its_file_differs_from_the_index(bundle: Path) -> None:
    (bundle / TOOL).write_text("another")
    listed, _faults = sums.read((bundle / SUMS).read_bytes())
    import hashlib

    listed[TOOL] = hashlib.sha256(b"another").hexdigest()
    (bundle / SUMS).write_bytes(sums.written(listed))
    assert faults(bundle) == [("artifact_checksum_mismatch", TOOL)]


def test_no_folder_and_no_bundle_have_no_index(tmp_path: Path) -> None:
    assert faults(tmp_path / "none") == [("bundle_index_missing", INDEX)]
    assert ("bundle_index_missing", INDEX) in faults(tmp_path)


def test_a_version_must_be_there_and_not_blocked(bundle: Path) -> None:
    assert faults(bundle, runtime=("compose", "2.40")) == []
    for wanted in (("compose", "2.39"), ("compose", "3"), ("k8s", "1.36")):
        assert faults(bundle, runtime=wanted) == [("artifact_version_unsupported", INDEX)]


def test_an_optional_artifact_may_be_missing_unless_the_version_needs_it(tmp_path: Path) -> None:
    optional = [{"id": "tool", "type": "binary", "path": TOOL, "required": False}]
    bundle = make(tmp_path / "bundle", locked=False, artifacts=optional)
    (bundle / TOOL).unlink()
    assert lock(str(bundle))[2] == []
    assert faults(bundle) == []
    assert faults(bundle, runtime=("compose", "2.40")) == [("artifact_missing", TOOL)]


def test_what_version_control_holds_is_whole_without_artifacts(tmp_path: Path) -> None:
    bundle = make(tmp_path / "bundle", locked=False)
    (bundle / TOOL).unlink()
    lock(str(bundle))
    assert faults(bundle) == [("artifact_missing", TOOL)]
    assert faults(bundle, with_artifacts=False) == []


def test_the_repository_s_own_bundle_is_whole() -> None:
    """It may have been filled with artifacts here: then it is locked with them."""
    script = Path(__file__).parents[4] / "script"
    found = [
        one for one in inspect(str(script), with_artifacts=False).faults if one.key != "artifact_unlisted"
    ]
    assert found == []


def test_a_signature_is_asked_for_when_a_key_is_trusted(bundle: Path) -> None:
    key = b"\1" * 32
    assert faults(bundle, trusted=[key]) == [("bundle_signature_invalid", SIGNATURE)]
    (bundle / SIGNATURE).write_text("bm90IGEgc2lnbmF0dXJl")
    assert faults(bundle, trusted=[key]) == [("bundle_signature_invalid", SIGNATURE)]
    assert faults(bundle) == []
