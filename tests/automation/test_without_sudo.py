# SPDX-License-Identifier: Apache-2.0
"""A user who may not become root is told so, by every step of an install: it is the login's fault."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.strategies.rig import ROOT

SUDO = {
    "password-asked": "#!/bin/sh\necho 'sudo: a password is required' >&2\nexit 1\n",
    "no-sudoer": "#!/bin/sh\necho 'operator is not in the sudoers file.' >&2\nexit 1\n",
    "no-sudo": None,
}
BUNDLE: dict[str, Any] = {
    "index": {"version": "1", "steps": [], "platforms": [], "checks": []},
    "delivered": {"artifacts": {}, "hooks": []},
    "digest": "sha256:0",
}


@pytest.fixture
def bundle(tmp_path: Path) -> dict[str, Any]:
    folder = tmp_path / "bundle"
    shutil.copytree(ROOT / "script/templates", folder / "templates")
    files = {}
    for file in (one for one in folder.rglob("*") if one.is_file()):
        known = file.stat()
        stamp = [known.st_size, known.st_mtime_ns, known.st_ctime_ns, known.st_ino, known.st_dev]
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        files[str(file.relative_to(folder))] = {"sha256": sha256, "stamp": stamp}
    return {**BUNDLE, "bundle_dir": str(folder), "files": files}


def test_who_may_not_become_root_is_told_so(tmp_path: Path, bundle: dict[str, Any]) -> None:
    tasks: dict[str, dict[str, Any]] = {
        "environment_preflight": {"bundle": bundle},
        "environment_health": {},
        "bundle_delivery": {"verified": bundle},
        "container_runtime": {"verb": "rollback"},
    }
    for host in SUDO:
        if text := SUDO[host]:
            (tmp_path / host).write_text(text)
            (tmp_path / host).chmod(0o755)
    told = play(tmp_path, tasks)
    assert set(told) == set(SUDO)
    for host, answers in told.items():
        for name, answer in answers.items():
            assert answer.get("error_key") == "ssh_auth_failed", (host, name, answer)
            assert answer["failure_domain"] == "auth" and "sudo" in answer["hint"]
            assert "become root" in answer["diagnostics"]["summary"]


def play(folder: Path, tasks: dict[str, dict[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Run modules on this machine, once for each sudo in `folder`; answers what each said in `tidegate`, by host."""
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    hosts = {name: {**local, "ansible_become_exe": str(folder / name)} for name in SUDO}
    (folder / "inventory.json").write_text(json.dumps({"all": {"hosts": hosts}}))
    steps = [
        {f"tidegate.deploy.{name}": given, "register": name, "ignore_errors": True, "check_mode": True}
        for name, given in tasks.items()
    ]
    told = ", ".join(f"'{name}': {name}.tidegate" for name in tasks)
    path = f"{folder}/{{{{ inventory_hostname }}}}.told"
    kept = {
        "ansible.builtin.copy": {"content": "{{ {" + told + "} | to_json }}", "dest": path},
        "become": False,
    }
    play = {"hosts": "all", "gather_facts": False, "become": True, "tasks": [*steps, kept]}
    (folder / "play.json").write_text(json.dumps([play]))
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(folder / "inventory.json"),
            str(folder / "play.json"),
        ],
        env={
            **os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"), "ANSIBLE_NOCOLOR": "1",
            # Who runs the tests may be root already.
            "ANSIBLE_BECOME_ALLOW_SAME_USER": "1",
        },
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return {file.stem: json.loads(file.read_text()) for file in folder.glob("*.told")}
