# SPDX-License-Identifier: Apache-2.0
"""The folder of one run: made for it, readable by nobody else, gone after it. In memory where the system lets."""

from __future__ import annotations

import json
import os
import shutil
import stat
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from controlplane.adapters.runner import inventory as inventories
from controlplane.adapters.runner.processes import kill_marked, started_at
from controlplane.ports.runner import PlaybookRun

RESULTS = "results"


class RunFolders:
    """The run folders of one worker process, under `root/<pid>-<start>`; those of dead workers are removed."""

    def __init__(self, root: Path) -> None:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Where it lies in memory, anybody could have made it first.
        found = root.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise PermissionError(f"{root} must be a folder that only this user can read")
        _sweep(root)
        self.path = root / f"{os.getpid()}-{started_at(os.getpid())}"
        self.path.mkdir(mode=0o700, exist_ok=True)
        self._count = 0

    def make(self) -> Path:
        """Return a new empty folder, 0700. Its path is short: ssh's control sockets lie in it."""
        self._count += 1
        folder = self.path / f"{self._count}-{time.monotonic_ns() % 10**9}"
        for name in (
            folder,
            folder / "env",
            folder / "inventory",
            folder / "cp",
            folder / "tmp",
            folder / RESULTS,
        ):
            name.mkdir(mode=0o700)
        return folder

    def close(self) -> None:
        """Remove all of it."""
        shutil.rmtree(self.path, ignore_errors=True)


def _sweep(root: Path) -> None:
    """End what dead workers left running and remove what they left lying."""
    for folder in root.iterdir():
        pid, _, start = folder.name.partition("-")
        if not pid.isdigit() or started_at(int(pid)) == start:
            continue
        for run in folder.iterdir():
            kill_marked(str(run))
        shutil.rmtree(folder, ignore_errors=True)


def fill(folder: Path, run: PlaybookRun) -> dict[str, str]:
    """Write what the run needs and return the secret part of its environment.

    A document that is a mapping learns in `result_dir` where the playbook is to put its results.

    Raises:
        Problem: what `inventory.build` raises.
        OSError: no space left.
    """
    built = inventories.build(run.hosts, run.group, str(folder))
    for name, text in built.files.items():
        write_private(folder / name, text)
    write_private(folder / "inventory" / "hosts.yml", json.dumps(built.document))
    extra: dict[str, Any] = dict(run.extra_vars)
    for number, (name, document) in enumerate(run.documents.items()):
        if isinstance(document, Mapping):
            document = {**document, "result_dir": str(folder / RESULTS)}
        path = folder / f"document_{number}.json"
        write_private(path, json.dumps(document))
        extra[name] = str(path)
    write_private(folder / "env" / "extravars", json.dumps(extra))
    return {**built.environment, **run.secret_env}


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, from its first byte on."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def read_results(folder: Path) -> dict[str, Any]:
    """Return the documents that a playbook wrote, by name without `.json`. One cut off half way is left out."""
    results: dict[str, Any] = {}
    for path in sorted((folder / RESULTS).glob("*.json")):
        try:
            results[path.name.removesuffix(".json")] = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            continue
    return results
