# SPDX-License-Identifier: Apache-2.0
"""The folders of runs."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from controlplane.adapters.runner import private_data
from controlplane.adapters.runner.automation import automation_home
from controlplane.adapters.runner.private_data import RunFolders
from controlplane.ports.probe import SshAccess
from controlplane.ports.runner import PlaybookRun, RunHost


def test_all_that_is_written_is_its_owner_s_alone(tmp_path: Path) -> None:
    folders = RunFolders(tmp_path / "runs")
    folder = folders.make()
    host = RunHost("a", SshAccess("h", 22, "u", private_key="K", host_key="ssh-ed25519 AAAA"))
    private_data.fill(folder, PlaybookRun("j", "p.yml", [host], {"release_spec_file": {}}, {"x": "{{ y }}"}))
    for path in folder.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    folders.close()
    assert not (tmp_path / "runs").exists()


def test_folders_of_dead_workers_are_removed_and_of_others_kept(tmp_path: Path) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    tmp_path.chmod(0o700)
    for name in (f"{dead.pid}-1", f"{os.getpid()}-1", "not-ours"):
        (tmp_path / name).mkdir()
    folders = RunFolders(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {folders.path.name, "not-ours"}


def test_a_folder_that_others_can_reach_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(PermissionError):
        RunFolders(tmp_path)


def test_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(PermissionError):
        RunFolders(tmp_path / "link")


@pytest.mark.parametrize("name", ["a b", "a%h", "a{{x}}", "a'b"])
def test_a_path_that_ssh_would_read_otherwise_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="cannot hold runs"):
        RunFolders(tmp_path / name)


def test_half_a_result_is_no_result(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "a.preview.json").write_text('{"n": 1}')
    (tmp_path / "results" / "b.preview.json").write_text('{"n": ')
    assert private_data.read_results(tmp_path) == {"a.preview": {"n": 1}}


def test_a_long_path_has_no_room_for_sockets() -> None:
    assert private_data.keeps_connections(Path("/dev/shm/tidegate-0-12345678/1234567-123456789/99"))
    assert not private_data.keeps_connections(Path("/" + "a" * 90))


def test_the_automation_side_is_where_it_is_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (automation_home() / "playbooks" / "release_apply.yml").is_file()
    monkeypatch.setenv("TIDEGATE_AUTOMATION_HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError):
        automation_home()
    (tmp_path / "playbooks").mkdir()
    (tmp_path / "playbooks" / "release_apply.yml").touch()
    assert automation_home() == tmp_path
