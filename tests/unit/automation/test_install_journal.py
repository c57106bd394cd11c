# SPDX-License-Identifier: Apache-2.0
"""What an install made is taken away, in reverse, and nothing else is; what somebody changed is left and named."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.environment import installed
from ansible_collections.tidegate.deploy.plugins.module_utils.environment.installed import Installed
from ansible_collections.tidegate.deploy.plugins.module_utils.environment.journal import Journal
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(str(tmp_path / "state" / "journal.json"))


def again(journal: Journal) -> Journal:
    return Journal(journal._file)


def test_what_was_made_is_gone_and_what_was_there_is_not(tmp_path: Path, journal: Journal) -> None:
    (tmp_path / "etc").mkdir()
    todo = Installed(journal, "one")
    todo.file(str(tmp_path / "etc/app/deep/settings"), "a")
    todo.link(str(tmp_path / "etc/link"), "/nowhere")
    Installed(journal, "two").file(str(tmp_path / "etc/other"), "b")
    undone, left = again(journal).undo("one")
    assert (len(undone), left) == (4, [])
    assert [one.name for one in (tmp_path / "etc").iterdir()] == ["other"]
    assert again(journal).undo("one") == ([], [])


def test_made_again_nothing_changes_and_a_new_content_replaces_our_own(
    tmp_path: Path, journal: Journal
) -> None:
    path = str(tmp_path / "file")
    for content, changes in (("a", 1), ("a", 0), ("b", 1)):
        todo = Installed(again(journal), "one")
        todo.file(path, content)
        todo.link(str(tmp_path / "link"), f"/{content}")
        assert len(todo.changes) == 2 * changes
    assert again(journal).undo("one")[1] == []
    assert list(tmp_path.glob("[fl]i*")) == []


def test_somebody_else_s_file_is_never_replaced_or_removed(tmp_path: Path, journal: Journal) -> None:
    (tmp_path / "theirs").write_text("theirs")
    todo = Installed(journal, "one")
    for make in (
        lambda: todo.file(str(tmp_path / "theirs"), "a"),
        lambda: todo.link(str(tmp_path / "theirs"), "/a"),
    ):
        with pytest.raises(ReleaseError) as caught:
            make()
        assert caught.value.error_key == "conflict"
    todo.file(str(tmp_path / "ours"), "a")
    (tmp_path / "ours").write_text("changed since")
    undone, left = journal.undo("one")
    assert undone == []
    assert left == [f"file {tmp_path / 'ours'}: somebody changed it since"]
    # It is theirs by now, and is not asked for again; a folder that they use may be empty one day.
    assert again(journal).undo("one") == ([], [])
    todo.file(str(tmp_path / "folder/ours"), "a")
    (tmp_path / "folder/theirs").write_text("theirs")
    assert journal.undo("one")[1] == [f"folder {tmp_path / 'folder'}: it is not empty"]
    (tmp_path / "folder/theirs").unlink()
    assert again(journal).undo("one") == ([f"folder {tmp_path / 'folder'}"], [])
    assert (tmp_path / "theirs").read_text() == "theirs"


def test_a_promise_changes_nothing(tmp_path: Path, journal: Journal) -> None:
    todo = Installed(journal, "one", promise_only=True)
    todo.file(str(tmp_path / "a/file"), "a")
    todo.link(str(tmp_path / "link"), "/a")
    todo.note("data", "/data")
    assert len(todo.changes) == 2
    assert list(tmp_path.iterdir()) == []


def archive(path: Path, name: str, kind: bytes = tarfile.REGTYPE) -> dict[str, Any]:
    with tarfile.open(path, "w") as tar:
        member = tarfile.TarInfo(name)
        member.type, member.mode, member.linkname = kind, 0o755, "/etc/passwd"
        member.size = 1 if kind == tarfile.REGTYPE else 0
        tar.addfile(member, io.BytesIO(b"x"))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"path": str(path), "sha256": sha256, "type": "archive"}


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(installed, "PROGRAMS", str(tmp_path / "programs"))
    (tmp_path / "programs").mkdir()
    # The folder above it is on the real system.
    monkeypatch.setattr(Installed, "folder", lambda _self, _path: None)
    return tmp_path / "programs"


def test_programs_are_unpacked_by_their_base_names_once(
    tmp_path: Path, journal: Journal, programs: Path
) -> None:
    artifact = archive(tmp_path / "a.tar", "../../usr/bin/tool")
    todo = Installed(journal, "one")
    folder = Path(todo.programs("tools", artifact))
    assert [one.name for one in folder.iterdir()] == ["tool"]
    assert (folder / "tool").stat().st_mode & 0o777 == 0o755
    todo.programs("tools", artifact)
    assert todo.changes == ["unpack tools"]


def test_what_is_altered_or_no_plain_file_is_not_unpacked(
    tmp_path: Path, journal: Journal, programs: Path
) -> None:
    todo = Installed(journal, "one")
    for artifact, key in (
        ({**archive(tmp_path / "a", "tool"), "sha256": "0" * 64}, "artifact_checksum_mismatch"),
        (archive(tmp_path / "b", "tool", tarfile.SYMTYPE), "artifact_missing"),
        ({"path": str(tmp_path / "none"), "sha256": "1" * 64, "type": "binary"}, "artifact_missing"),
    ):
        with pytest.raises(ReleaseError) as caught:
            todo.programs("tools", artifact)
        assert caught.value.error_key == key
        assert not list(programs.glob(f"tools-{artifact['sha256'][:16]}"))
