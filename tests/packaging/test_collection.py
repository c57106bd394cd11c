# SPDX-License-Identifier: Apache-2.0
"""`ansible-galaxy collection build` gives a collection with modules, roles and playbooks in it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging.conftest import ROOT

pytestmark = [pytest.mark.packaging, pytest.mark.xdist_group("packaging")]
SOURCE = ROOT / "collections" / "ansible_collections" / "tidegate" / "deploy"


@pytest.fixture(scope="module")
def collections(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the built collection was installed."""
    dist, goal = tmp_path_factory.mktemp("dist"), tmp_path_factory.mktemp("collections")
    _galaxy(dist, "collection", "build", "--output-path", str(dist), str(SOURCE))
    (archive,) = dist.glob("tidegate-deploy-*.tar.gz")
    _galaxy(
        dist, "collection", "install", "--offline", "--force", "--collections-path", str(goal), str(archive)
    )
    return goal


def test_modules_roles_and_playbooks_are_in_it(collections: Path) -> None:
    installed = collections / "ansible_collections" / "tidegate" / "deploy"
    modules = {path.name for path in (installed / "plugins" / "modules").glob("*.py")}
    assert {"compose_info.py", "compose_preview.py", "compose_release.py", "image_archive.py"} <= modules
    assert (installed / "roles" / "release_compose" / "tasks" / "main.yml").is_file()
    for verb in ("preview", "apply", "rollback"):
        assert (installed / "playbooks" / f"release_{verb}.yml").is_file()


def test_its_playbooks_run_by_their_full_name(collections: Path, tmp_path: Path) -> None:
    (tmp_path / "ansible.cfg").touch()
    told = subprocess.run(
        [_tool("ansible-playbook"), "tidegate.deploy.release_preview", "--syntax-check", "-i", "localhost,"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(collections),
            "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"),
        },
    )
    assert told.returncode == 0, told.stderr


def _galaxy(folder: Path, *arguments: str) -> None:
    """Run it where no ansible.cfg says that the collection is there already."""
    subprocess.run([_tool("ansible-galaxy"), *arguments], check=True, capture_output=True, cwd=folder)


def _tool(name: str) -> str:
    return str(Path(sys.executable).parent / name)
