# SPDX-License-Identifier: Apache-2.0
"""Runs the collection's tasks and playbooks against hosts of the lab, and reads what they answered."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.lab.host import LabHost
from tests.lab.lab import Lab

ROOT = Path(__file__).resolve().parents[2]


class Rig:
    """An inventory of lab hosts in a folder of the test's own."""

    def __init__(self, lab: Lab, folder: Path, *hosts: LabHost) -> None:
        self._folder = folder
        options = (
            f"-o UserKnownHostsFile={lab.known_hosts} -o GlobalKnownHostsFile=/dev/null -o IdentitiesOnly=yes"
            " -o ServerAliveInterval=2 -o ServerAliveCountMax=2"
        )
        entries = {
            host.name: {
                "ansible_host": host.address,
                "ansible_user": "root",
                "ansible_ssh_private_key_file": str(lab.key_path),
                "ansible_ssh_common_args": options,
                "ansible_python_interpreter": "/usr/bin/python3",
            }
            for host in hosts
        }
        self._inventory = folder / "inventory.json"
        self._inventory.write_text(json.dumps({"release_hosts": {"hosts": entries}}))

    def task(
        self, module: str, arguments: dict[str, Any], check_mode: bool = False
    ) -> dict[str, dict[str, Any]]:
        """Run one task on all hosts; answers each host's result, failed or not."""
        kept = self._folder / "answers"
        kept.mkdir(exist_ok=True)
        play = {
            "hosts": "release_hosts",
            "gather_facts": False,
            "tasks": [
                {
                    module: arguments,
                    "register": "answer",
                    "ignore_errors": True,
                    **({"check_mode": True} if check_mode else {}),
                },
                {
                    "ansible.builtin.copy": {
                        "content": "{{ answer | to_json }}",
                        "dest": f"{kept}/{{{{ inventory_hostname }}}}.json",
                    },
                    "delegate_to": "localhost",
                    "connection": "local",
                    "vars": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable},
                },
            ],
        }
        path = self._folder / "play.json"
        path.write_text(json.dumps([play]))
        self.play(path)
        return {file.stem: json.loads(file.read_text()) for file in kept.glob("*.json")}

    def play(
        self,
        playbook: Path | str,
        extra: dict[str, Any] | None = None,
        check: bool = True,
        options: Sequence[str] = (),
    ) -> subprocess.CompletedProcess[str]:
        """Run a playbook (a path, or a name below playbooks/) with extra variables, and options of Ansible's."""
        path = playbook if isinstance(playbook, Path) else ROOT / "playbooks" / playbook
        argv = [
            str(Path(sys.executable).with_name("ansible-playbook")),
            "-i",
            str(self._inventory),
            str(path),
            *options,
        ]
        if extra is not None:
            given = self._folder / "extra.json"
            given.write_text(json.dumps(extra))
            argv += ["-e", f"@{given}"]
        env = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
            "ANSIBLE_ROLES_PATH": str(ROOT / "roles"),
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_NOCOLOR": "1",
        }
        done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=900, check=False)
        if check and done.returncode != 0:
            raise AssertionError(
                f"ansible-playbook ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
            )
        return done
