# SPDX-License-Identifier: Apache-2.0
"""Runs the environment's playbooks against lab hosts, and tells what an install left on one."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.lab import bundle as lab_bundle
from tests.lab.host import LabHost
from tests.lab.lab import Lab
from tests.strategies.rig import Rig


class Environments:
    """Runs the environment's playbooks against hosts, with a folder for the document and the results."""

    def __init__(self, lab: Lab, folder: Path, *hosts: LabHost) -> None:
        self.folder, self._hosts = folder, hosts
        self._rig = Rig(lab, folder, *hosts)
        inventory = folder / "inventory.json"
        inventory.write_text(inventory.read_text().replace("release_hosts", "environment_hosts"))
        self.spec: dict[str, Any] = {
            "api": "tidegate.environment/v1", "environment_id": "env_test", "runtime_type": "compose",
            "runtime_version": "2.40", "bundle_dir": str(lab_bundle.make()), "inputs": {},
            "bundle_trusted_keys": [str(lab_bundle.public_key())], "result_dir": str(folder),
            "task_id": "tsk_1", "holder": "tidegate task tsk_1", "fencing_token": 1,
        }  # fmt: skip

    def run(
        self, verb: str, check: bool = True, options: Sequence[str] = (), **more: Any
    ) -> subprocess.CompletedProcess[str]:
        return self.play(f"environment_{verb}.yml", check=check, options=options, **more)

    def play(
        self, playbook: str, check: bool = True, options: Sequence[str] = (), **more: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a playbook that is told of an environment."""
        (self.folder / "spec.json").write_text(json.dumps({**self.spec, **more}))
        variables = {"environment_spec_file": str(self.folder / "spec.json")}
        return self._rig.play(playbook, variables, check=check, options=options)

    def result(self, host: LabHost, verb: str) -> dict[str, Any]:
        return dict(json.loads((self.folder / f"{host.name}.{verb}.json").read_text()))

    def statuses(self, host: LabHost, verb: str) -> dict[str, str]:
        return {one["step"]: one["status"] for one in self.result(host, verb)["steps"]}


def left_behind(host: LabHost) -> dict[str, list[str]]:
    """What an install could leave: files outside the state folder and the engine's data, units, links, processes."""
    script = {
        "files": "find /etc /usr/local /opt -xdev -not -path '*/__pycache__*' | sort",
        "units": "systemctl list-unit-files --no-legend --no-pager | awk '{print $1, $2}' | sort",
        "links": "ls /sys/class/net",
        "groups": "cut -d: -f1 /etc/group",
        "processes": "ps -eo comm= | grep -E 'docker|containerd|runc|kube|etcd' || true",
        "mounts": "grep -E 'docker|containerd|kube|cni' /proc/mounts "
        "| grep -vE ' /var/lib/(docker|containerd) ' || true",
    }
    found = {name: host.exec(["sh", "-c", text]).stdout.splitlines() for name, text in script.items()}
    # groupadd and groupdel keep a copy of what was before.
    return {
        name: [line for line in lines if not re.search(r"/etc/(g?shadow|group)-$", line)]
        for name, lines in found.items()
    }


def moved(host: LabHost, before: dict[str, list[str]]) -> dict[str, list[str]]:
    """What is there now and was not, and the other way round."""
    now = left_behind(host)
    return {name: sorted(set(now[name]) ^ set(before[name])) for name in now if now[name] != before[name]}
