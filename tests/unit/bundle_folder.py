# SPDX-License-Identifier: Apache-2.0
"""The files of a bundle that is small and, once locked, whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TOOL = "bin/linux-amd64/tool"


def index(**more: Any) -> dict[str, Any]:
    """An index with one artifact, one hook and one version of each status."""
    return {
        "apiVersion": "tidegate.bundle/v1",
        "kind": "BundleIndex",
        "version": "1",
        "platforms": [{"os": "linux", "arch": "amd64"}],
        "runtimes": {
            "compose": {
                "versions": [
                    {"version": "2.40", "status": "supported", "artifacts": ["tool"]},
                    {"version": "2.39", "status": "blocked", "artifacts": ["tool"]},
                ]
            }
        },
        "artifacts": [{"id": "tool", "type": "binary", "path": TOOL, "mode": "0755"}],
        "steps": [
            {
                "name": "look",
                "runtime": ["compose"],
                "hook": "hooks/look.sh",
                "runs_on": ["all"],
                "timeout": 5,
            }
        ],
        "checks": [],
        **more,
    }


def write(folder: Path, **more: Any) -> Path:
    """Write the bundle, not locked yet; `more` are members of the index."""
    files = {
        TOOL: b"a tool",
        "hooks/look.sh": b"#!/bin/sh\n",
        "templates/a.j2": b"{{ a }}\n",
        "manifests/index.yaml": json.dumps(index(**more), indent=1).encode(),
    }
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder
