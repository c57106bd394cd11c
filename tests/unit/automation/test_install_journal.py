# SPDX-License-Identifier: Apache-2.0
"""What an install made is taken away, in reverse, and nothing else is; what somebody changed is left and named."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.environment import (
    earlier_state,
    installed,
)
from ansible_collections.tidegate.deploy.plugins.module_utils.environment import (
    journal as journal_of_host,
)
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


@contextlib.contextmanager
def full_disk(journal: Journal) -> Iterator[None]:
    """Nothing but the journal is put in its place any more."""

    def replace(making: str, path: str) -> None:
        if path != journal._file:
            raise OSError(errno.ENOSPC, "No space left on device", path)
        os.rename(making, path)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(installed.os, "replace", replace)
        yield


@pytest.mark.parametrize("what", ["file", "link"])
def test_a_change_that_was_cut_is_made_by_the_next_run_or_undone(
    tmp_path: Path, journal: Journal, what: str
) -> None:
    path = str(tmp_path / "ours")

    def make(content: str) -> None:
        getattr(Installed(again(journal), "one"), what)(path, content)

    make("/a")
    for content in ("/b", "/c"):
        with full_disk(journal), pytest.raises(OSError, match="No space left"):
            make(content)
    make("/d")
    assert (os.readlink(path) if what == "link" else Path(path).read_text()) == "/d"
    with full_disk(journal), pytest.raises(OSError, match="No space left"):
        make("/e")
    assert again(journal).undo("one") == ([f"{what} {path}"], [])
    assert not os.path.lexists(path)


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


class Systemd:
    """Tells what it was asked; `dies_at` is a word at which the whole run is killed."""

    def __init__(self) -> None:
        self.dies_at, self.asked = "", list[str]()

    def run(self, *argv: str, timeout: int = 120) -> subprocess.CompletedProcess[str]:
        assert argv[0] == "systemctl" and timeout
        if argv[1] == self.dies_at:
            raise KeyboardInterrupt
        if not argv[1].startswith("is-"):
            self.asked.append(" ".join(argv[1:]))
        said = {"is-active": "active", "is-enabled": "enabled"}.get(argv[1], "")
        return subprocess.CompletedProcess(argv, 0, said, "")


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Systemd:
    made = Systemd()
    monkeypatch.setattr(installed, "run", made.run)
    monkeypatch.setattr(installed, "SYSTEMD", str(tmp_path / "units"))
    return made


@pytest.mark.parametrize("what", ["setting", "link", "unit"])
def test_what_was_written_and_not_read_before_a_cut_is_read_by_the_next_run(
    tmp_path: Path, journal: Journal, systemd: Systemd, what: str
) -> None:
    def install(content: str, **changed: str) -> list[str]:
        given = {"setting": "1", "link": "/1", "unit": "1", **changed}
        systemd.asked.clear()
        todo = Installed(again(journal), "one")
        has_changed = todo.file(str(tmp_path / "setting"), given["setting"])
        todo.link(str(tmp_path / "link"), given["link"])
        todo.units({"a.service": given["unit"], "b.service": content}, has_changed or bool(todo.changes))
        return [one for one in systemd.asked if "restart" in one]

    both = ["restart a.service", "restart b.service"]
    assert install("1") == both
    assert install("1") == []
    for systemd.dies_at in ("daemon-reload", "restart"):
        with pytest.raises(KeyboardInterrupt):
            install("1", **{what: f"/{systemd.dies_at}"})
        changed = {what: f"/{systemd.dies_at}"}
        systemd.dies_at = ""
        assert install("1", **changed) == both
        assert install("1", **changed) == []


def test_a_unit_that_waits_is_enabled_by_the_next_run_after_a_cut(journal: Journal, systemd: Systemd) -> None:
    def install(content: str) -> list[str]:
        systemd.asked.clear()
        Installed(again(journal), "one").waiting_unit("a.service", content)
        return list(systemd.asked)

    assert install("1") == ["daemon-reload", "enable a.service"]
    systemd.dies_at = "daemon-reload"
    with pytest.raises(KeyboardInterrupt):
        install("2")
    systemd.dies_at = ""
    assert install("2") == ["daemon-reload", "enable a.service"]
    assert install("2") == []


class Host:
    """A host that tasks install on; `undo` takes some of them back."""

    def __init__(self, folder: Path, journal: Journal, systemd: Systemd) -> None:
        self.folder, self._file, self.systemd = folder, journal._file, systemd

    def install(self, task: str, content: str, *more: str) -> None:
        todo = Installed(Journal(self._file, task=task), "one")
        for name in ("settings", *more):
            todo.file(str(self.folder / "etc" / name), content)
        todo.link(str(self.folder / "etc/link"), f"/{content}")
        todo.units({"a.service": content}, False)

    def undo(self, *tasks: str) -> tuple[list[str], list[str]]:
        self.systemd.asked.clear()
        return Journal(self._file, undoes=tasks or None).undo("one")

    def has(self) -> dict[str, str]:
        files = [*(self.folder / "etc").glob("*"), *(self.folder / "units").glob("*")]
        return {one.name: os.readlink(one)[1:] if one.is_symlink() else one.read_text() for one in files}


@pytest.fixture
def host(tmp_path: Path, journal: Journal, systemd: Systemd, monkeypatch: pytest.MonkeyPatch) -> Host:
    for module in (earlier_state, journal_of_host):
        monkeypatch.setattr(module, "SYSTEMD", str(tmp_path / "units"))
    monkeypatch.setattr(journal_of_host, "run", systemd.run)
    return Host(tmp_path, journal, systemd)


ALL = ("settings", "link", "a.service")


def test_an_undo_takes_back_what_its_task_did_and_nothing_that_was_there_before(host: Host) -> None:
    host.install("task 1", "1")
    host.install("task 2", "2", "added")
    assert host.has() == dict.fromkeys((*ALL, "added"), "2")
    undone, left = host.undo("task 2")
    assert (host.has(), left) == (dict.fromkeys(ALL, "1"), [])
    assert [one for one in undone if "as it was before" not in one] == [f"file {host.folder}/etc/added"]
    assert host.systemd.asked == ["daemon-reload", "try-restart a.service"]
    assert host.undo("task 2") == ([], []) and host.systemd.asked == []
    host.undo("task 1")
    assert host.has() == {}


def test_an_undo_of_a_task_that_changed_nothing_changes_nothing(host: Host) -> None:
    host.install("task 1", "1")
    host.install("task 2", "1")
    assert host.undo("task 2") == ([], []) and host.systemd.asked == []
    assert host.has() == dict.fromkeys(ALL, "1")


def test_tasks_that_came_after_are_undone_together_and_all_of_them_to_nothing(host: Host) -> None:
    for number in ("1", "2", "3"):
        host.install(f"task {number}", number)
    host.undo("task 2", "task 3")
    assert host.has() == dict.fromkeys(ALL, "1")
    host.install("task 4", "4")
    assert host.undo()[1] == []
    assert host.has() == {}


def test_what_another_did_since_is_left_and_named(host: Host) -> None:
    for number in ("1", "2", "3"):
        host.install(f"task {number}", number)
    undone, left = host.undo("task 2")
    assert undone == [] and len(left) == len(ALL)
    assert "unit a.service: task 3 changed it since" in left
    assert host.has() == dict.fromkeys(ALL, "3")


def test_what_was_changed_by_somebody_is_left_and_named(host: Host) -> None:
    host.install("task 1", "1")
    host.install("task 2", "2")
    (host.folder / "etc/settings").write_text("mine")
    assert host.undo("task 2")[1] == [f"file {host.folder}/etc/settings: somebody changed it since"]
    assert host.has() == {"settings": "mine", "link": "1", "a.service": "1"}


def test_an_undo_that_was_cut_before_a_unit_started_anew_starts_it_when_it_goes_on(host: Host) -> None:
    host.install("task 1", "1")
    host.install("task 2", "2")
    host.systemd.dies_at = "try-restart"
    with pytest.raises(KeyboardInterrupt):
        host.undo("task 2")
    host.systemd.dies_at = ""
    host.undo("task 2")
    assert host.systemd.asked == ["daemon-reload", "try-restart a.service"]
    assert host.has() == dict.fromkeys(ALL, "1")


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


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Tells in their order which paths were forced to the disk, and which got another name."""
    told: list[str] = []

    def fsync(number: int) -> None:
        told.append("kept " + os.path.basename(os.readlink(f"/proc/self/fd/{number}")))

    def renaming(rename: Callable[[str, str], None]) -> Callable[[str, str], None]:
        def tell(origin: str, goal: str) -> None:
            rename(origin, goal)
            told.append("named " + os.path.basename(goal))

        return tell

    monkeypatch.setattr(os, "fsync", fsync)
    for name in ("rename", "replace"):
        monkeypatch.setattr(os, name, renaming(getattr(os, name)))
    return told


def test_what_has_its_name_is_on_the_disk_before_and_its_name_after(
    tmp_path: Path, journal: Journal, programs: Path, disk: list[str]
) -> None:
    artifact = archive(tmp_path / "a.tar", "tool")
    todo = Installed(journal, "one")
    goal = os.path.basename(todo.programs("tools", artifact))
    noted = ["kept journal.json.making", "named journal.json", "kept state"]
    assert disk == [*noted, "kept tool", f"kept {goal}.making", f"named {goal}", "kept programs"]
    disk.clear()
    todo.file(str(programs / "settings"), "a")
    assert disk == [*noted, "kept settings.tidegate-making", "named settings", "kept programs"]
    disk.clear()
    todo.link(str(programs / "link"), "/a")
    assert disk == [*noted, "named link", "kept programs"]


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


def test_what_a_kernel_setting_was_before_is_kept_for_its_rollback(journal: Journal) -> None:
    journal.note("kubernetes_node", "sysctl", "net.ipv4.ip_forward", before="0", value="1")
    assert journal.find("sysctl", "net.ipv4.ip_forward")["before"] == "0"
