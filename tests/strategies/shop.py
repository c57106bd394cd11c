# SPDX-License-Identifier: Apache-2.0
"""A shop that is released to hosts of the lab, version after version, with the playbooks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.lab import app
from tests.lab.host import LabHost
from tests.lab.lab import Lab

from .asker import ask
from .rig import Rig

PORT = 8080
ENTRY = {"port": PORT, "service": "web", "service_port": 8080}
TRAFFIC = {**ENTRY, "mode": "traffic", "percent": 25, "drain_seconds": 5}


class Shop:
    """Releases versions of the lab's shop to hosts with the playbooks; `host` is the first of them."""

    def __init__(self, lab: Lab, folder: Path, *hosts: LabHost) -> None:
        self._lab, self._folder = lab, folder
        self.host, self.rig = hosts[0], Rig(lab, folder, *hosts)

    def release(
        self, version: str, strategy: str, params: dict[str, Any], healthy: bool = True, verb: str = "apply"
    ) -> bool:
        """Whether the playbook ended well."""
        archive = self._lab.app_archive(version, healthy=healthy)
        image = {"reference": f"shop:{version}", "image_id": app.image_id(archive)}
        web = {"image": f"shop:{version}", "ports": [f"{PORT}:8080"], "restart": "always"}
        spec = {
            "api": "tidegate.release/v1", "release_id": f"rel_{version}_{strategy}", "service": "shop",
            "project": "shop", "target": "tgt", "environment": "production",
            "rendered": json.dumps({"services": {"web": web}}, sort_keys=True),
            "images": [{**image, "archive": str(archive)}],
            "resolved_images": {"web": {**image, "digest": None}},
            "strategy": strategy, "strategy_params": params, "health_timeout": 30,
            "result_dir": str(self._folder),
        }  # fmt: skip
        path = self._folder / "spec.json"
        path.write_text(json.dumps(spec))
        done = self.rig.play(f"release_{verb}.yml", {"release_spec_file": str(path)}, check=False)
        self.said = done.stdout + done.stderr
        return done.returncode == 0

    def answer(self) -> str:
        return ask(self.host.address, PORT)

    def containers(self) -> dict[str, str]:
        listed = self.host.run(["docker", "ps", "--format", "{{.Names}} {{.ID}}"]).stdout.split("\n")
        return dict(line.split() for line in listed if line)
