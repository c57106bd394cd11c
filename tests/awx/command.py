# SPDX-License-Identifier: Apache-2.0
"""The `awx` command of awxkit, as a pipeline of somebody's would run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Awx:
    """Runs `awx` against a server, with a token or with a name and a password."""

    url: str
    token: str = ""
    username: str = ""
    password: str = ""

    def __call__(self, *arguments: str, timeout: float = 240) -> Ran:
        """Run it and return how it ended."""
        done = subprocess.run(
            self.line(*arguments), env=self.environment(), capture_output=True, text=True, timeout=timeout
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Run it beside the test."""
        return subprocess.Popen(
            self.line(*arguments),
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def line(self, *arguments: str) -> list[str]:
        """Return the command line."""
        return [str(Path(sys.executable).parent / "awx"), *arguments]

    def environment(self) -> dict[str, str]:
        """Return how `awx` is told whom to ask; nothing secret is an argument."""
        told = {
            "PATH": os.environ["PATH"],
            "LC_ALL": "C.UTF-8",
            # It warns of what it is made of itself.
            "PYTHONWARNINGS": "ignore",
            # What it prints is there for a test that waits for it.
            "PYTHONUNBUFFERED": "1",
            "CONTROLLER_HOST": self.url,
            "CONTROLLER_COLOR": "f",
        }
        if self.token:
            return {**told, "CONTROLLER_OAUTH_TOKEN": self.token}
        return {**told, "CONTROLLER_USERNAME": self.username, "CONTROLLER_PASSWORD": self.password}
