# SPDX-License-Identifier: Apache-2.0
"""A release of the lab's shop, previewed and applied with the playbooks as the control plane runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.lab import app
from tests.lab.host import LabHost
from tests.lab.lab import Lab

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = """
services:
  web:
    image: "{{ image }}"
    ports: ["8080:8080"]
"""
# Never healthy, and never unhealthy within a test's time.
STARTING = (
    COMPOSE
    + """
    healthcheck: {test: ["CMD", "/nothing"], start_period: 600s, interval: 1s, retries: 50}
"""
)


class Releases:
    """Runs playbooks against hosts, with a folder for specs and results."""

    def __init__(self, lab: Lab, folder: Path, *hosts: LabHost, user: str = "root") -> None:
        self._lab, self._folder = lab, folder
        self._names = [host.name for host in hosts]
        options = (
            f"-o UserKnownHostsFile={lab.known_hosts} -o GlobalKnownHostsFile=/dev/null -o IdentitiesOnly=yes"
        )
        entries = {
            host.name: {
                "ansible_host": host.address,
                "ansible_user": user,
                "ansible_ssh_private_key_file": str(lab.key_path),
                "ansible_ssh_common_args": options,
            }
            for host in hosts
        }
        self._inventory = folder / "inventory.json"
        self._inventory.write_text(json.dumps({"release_hosts": {"hosts": entries}}))

    def spec(self, version: str, release_id: str = "", healthy: bool = True, **more: Any) -> dict[str, Any]:
        """What is asked for; the image comes in an archive unless `image` names another."""
        archive = self._lab.app_archive(version, healthy=healthy)
        image = more.pop("image", None)
        return {
            "api": "tidegate.release/v1",
            "release_id": release_id or f"rel_{version}",
            "service": "shop",
            "project": "shop",
            "compose": COMPOSE,
            "variables": {"image": image or f"shop:{version}"},
            "variable_schema": {"image": {"type": "string", "required": True}},
            "images": []
            if image
            else [
                {"reference": f"shop:{version}", "archive": str(archive), "image_id": app.image_id(archive)}
            ],
            "strategy": "rolling",
            "strategy_params": {},
            "health_timeout": 20,
            "result_dir": str(self._folder),
            **more,
        }

    def preview(self, spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """Each host's preview, as it is in its file."""
        self._end(self.begin("preview", spec))
        return {name: self.result(name, "preview") for name in self._names}

    def previewed(self, spec: dict[str, Any], token: int) -> dict[str, Any]:
        """The spec to be applied, bound to a preview that is made now."""
        found = self.preview(spec)
        first = found[self._names[0]]
        return {
            **spec,
            "rendered": first["rendered"],
            "resolved_images": {one["service"]: one for one in first["images"]},
            "fingerprints": {name: one["fingerprint"] for name, one in found.items()},
            "fingerprint_parts": {name: one["fingerprint_parts"] for name, one in found.items()},
            "compare_fingerprint": True,
            "fencing_token": token,
        }

    def run(self, verb: str, spec: dict[str, Any], *options: str) -> bool:
        """Whether the playbook of this verb ended well; `options` are Ansible's."""
        return self._end(self.begin(verb, spec, *options)) == 0

    def begin(self, verb: str, spec: dict[str, Any], *options: str) -> subprocess.Popen[str]:
        """Start the playbook and do not wait."""
        path = self._folder / f"{verb}.spec.json"
        path.write_text(json.dumps(spec))
        environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
        environment["TIDEGATE_HMAC_KEY"] = "5a" * 32
        argv = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(self._inventory)]
        argv += [str(ROOT / "playbooks" / f"release_{verb}.yml"), "-e", f"release_spec_file={path}", *options]
        with open(self._folder / "said.txt", "w") as said:
            return subprocess.Popen(argv, env=environment, cwd=ROOT, stdout=said, stderr=said, text=True)

    def result(self, host: str, verb: str) -> dict[str, Any]:
        """What a module wrote of a host."""
        return dict(json.loads((self._folder / f"{host}.{verb}.json").read_text()))

    def steps(self, host: str, verb: str = "apply") -> dict[str, str]:
        """The status of each step of a result."""
        return {one["step"]: one["status"] for one in self.result(host, verb)["steps"]}

    @property
    def said(self) -> str:
        """The output of the last playbook."""
        return (self._folder / "said.txt").read_text()

    def _end(self, process: subprocess.Popen[str]) -> int:
        return process.wait(timeout=300)
