# SPDX-License-Identifier: Apache-2.0
"""The wheel and the collection, built from a copy of the tree."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILT_FROM = (
    "controlplane", "collections", "roles", "playbooks", "ansible.cfg", "requirements", "pyproject.toml", "setup.py",
    "MANIFEST.in", "README.md", "CHANGELOG.md", "LICENSE",
)  # fmt: skip


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel. It is built from a copy: setuptools leaves folders behind where it builds."""
    source = tmp_path_factory.mktemp("source")
    for name in BUILT_FROM:
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy2(ROOT / name, source / name)
    goal = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(goal), str(source)],
        check=True,
        capture_output=True,
    )
    (built,) = goal.glob("tidegate-*.whl")
    return built


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment outside the repository with the wheel and what the lock file names, nothing else."""
    venv = tmp_path_factory.mktemp("installed") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    locked = str(ROOT / "requirements" / "runtime.txt")
    subprocess.run([*pip, "--require-hashes", "-r", locked], check=True, cwd=venv)
    subprocess.run([*pip, "--no-deps", str(wheel)], check=True, cwd=venv)
    subprocess.run([str(venv / "bin" / "python"), "-m", "pip", "check"], check=True, cwd=venv)
    return venv
