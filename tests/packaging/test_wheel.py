# SPDX-License-Identifier: Apache-2.0
"""The wheel alone, in a folder outside the repository, gives a server and a worker that can release."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import pytest

from tests.demo import server
from tests.demo.test_walk import Silent, free_address
from tests.demo.walk import walk
from tests.lab import Lab

pytestmark = [pytest.mark.packaging, pytest.mark.xdist_group("packaging"), pytest.mark.timeout(900)]


def test_the_wheel_carries_the_automation_side_and_all_that_is_not_python(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    carried = "controlplane/_automation/"
    for name in (
        "playbooks/release_preview.yml",
        "playbooks/release_apply.yml",
        "playbooks/release_rollback.yml",
        "ansible.cfg",
        "collections/ansible_collections/tidegate/deploy/galaxy.yml",
        "collections/ansible_collections/tidegate/deploy/plugins/modules/image_archive.py",
    ):
        assert carried + name in names
    assert any(name.startswith(f"{carried}roles/release_compose/") for name in names)
    assert "controlplane/approval_matrix.json" in names
    assert "controlplane/api/static/docs.html" in names
    assert "controlplane/store/migrations/script.py.mako" in names
    assert "controlplane/store/migrations/versions/0001_first_release.py" in names
    assert not [name for name in names if name.startswith("tests/") or name.endswith(".pyc")]


def test_it_upgrades_a_database_where_there_is_no_repository(installed: Path, tmp_path: Path) -> None:
    told = subprocess.run(
        [str(installed / "bin" / "tidegate"), "db", "upgrade", "--home", str(tmp_path / "home")],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin"},
    )
    assert "revision" in told.stdout
    assert (tmp_path / "home" / "tidegate.db").exists()


@pytest.mark.lab
def test_what_it_installs_can_release(installed: Path, lab: Lab, tmp_path: Path) -> None:
    command = str(installed / "bin" / "tidegate")
    host = lab.host("wheel")
    address = free_address()
    token = server.initialise(tmp_path / "home", command)
    process = server.start(tmp_path / "home", address, command)
    try:
        walked = walk(
            f"http://{address}",
            token,
            host,
            lambda version, healthy: lab.app_archive(version, healthy=healthy),
            Silent(),
        )
    finally:
        server.stop(process.pid)
        host.remove()
    assert walked.answers["rollback"] == "shop 2"
