# SPDX-License-Identifier: Apache-2.0
"""The folder of one run: made for it, readable by nobody else, gone after it."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from controlplane.adapters.runner import inventory as inventories
from controlplane.adapters.runner.processes import kill_run, started_at
from controlplane.ports.runner import PlaybookRun

RESULTS = "results"
# A unix socket's path has at most 107 characters (unix(7)), and ssh adds 17 while it makes one.
_SOCKET_PATH_MOST = 107 - 17
# ssh and Ansible give a meaning to blanks, quotes, percent signs and braces in paths.
_SAFE_PATH = re.compile(r"/[A-Za-z0-9_./@+,=-]*")


class RunFolders:
    """The run folders of one worker process, under `root/<pid>-<start>`; those of dead workers are removed."""

    def __init__(self, root: Path) -> None:
        root = root.absolute()
        if not _SAFE_PATH.fullmatch(str(root)):
            raise ValueError(
                f"{root} cannot hold runs: its path has characters that ssh would take for something else"
            )
        _claim(root)
        _sweep(root)
        self.path = root / f"{os.getpid()}-{started_at(os.getpid())}"
        self.path.mkdir(mode=0o700, exist_ok=True)
        self._numbers = itertools.count(len(os.listdir(self.path)))

    def make(self) -> Path:
        """Return a new empty folder, 0700."""
        # What lies in memory may have been cleared away, as logind does when its user logs out.
        _claim(self.path.parent)
        self.path.mkdir(mode=0o700, exist_ok=True)
        while True:
            folder = self.path / str(next(self._numbers))
            try:
                folder.mkdir(mode=0o700)
            except FileExistsError:
                continue
            for name in ("env", "inventory", "cp", "tmp", RESULTS):
                (folder / name).mkdir(mode=0o700)
            return folder

    def close(self) -> None:
        """Remove all of it, and the root when no other worker has a folder there."""
        shutil.rmtree(self.path, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.path.parent.rmdir()


def _claim(root: Path) -> None:
    """Make the root. Where it lies in memory, anybody could have made it first: then it is refused."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = root.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise PermissionError(f"{root} must be a folder that only this user can read")


def _sweep(root: Path) -> None:
    """End what dead workers left running and remove what they left lying."""
    for folder in root.iterdir():
        pid, _, start = folder.name.partition("-")
        if pid.isdigit() and start.isdigit() and started_at(int(pid)) != start:
            kill_run(str(folder))
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
        _write(folder / name, text)
    _write(folder / "inventory" / "hosts.yml", json.dumps(built.document))
    extra: dict[str, Any] = dict(run.extra_vars)
    for number, (name, document) in enumerate(run.documents.items()):
        if isinstance(document, Mapping):
            document = {**document, "result_dir": str(folder / RESULTS)}
        path = folder / f"document_{number}.json"
        _write(path, document if isinstance(document, str) else json.dumps(document))
        extra[name] = str(path)
    _write(folder / "env" / "extravars", json.dumps(extra))
    return {**built.environment, **run.secret_env}


def keeps_connections(folder: Path) -> bool:
    """Say whether the path is short enough for the sockets through which ssh uses a connection again."""
    return len(str(folder / "cp" / "9999")) <= _SOCKET_PATH_MOST


def read_results(folder: Path) -> dict[str, Any]:
    """Return the documents that a playbook wrote, by name without `.json`. One cut off half way is left out."""
    results: dict[str, Any] = {}
    for path in sorted((folder / RESULTS).glob("*.json")):
        try:
            results[path.name.removesuffix(".json")] = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            continue
    return results


def _write(path: Path, text: str) -> None:
    """Write a file that only its owner can read, from its first byte on."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
