# SPDX-License-Identifier: Apache-2.0
"""A colour's Compose project on this host: whether it is there, how its connections end, how it is
removed."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from . import colours, image_store, state_folder

_PROJECT_LABEL = "com.docker.compose.project"
_TAIL = 2000
DOWN_SECONDS = 300


class ColourProject:
    """The project `<project>-<colour>`, or the project itself for `plain`."""

    def __init__(self, project: str, colour: str) -> None:
        self.name = colours.project_name(project, colour)
        self._folder = Path(state_folder.path("projects")) / self.name

    def exists(self, running_only: bool = False) -> bool:
        """Whether it has containers."""
        argv = ["ps", "--quiet", "--filter", f"label={_PROJECT_LABEL}={self.name}"]
        done = image_store.docker(argv if running_only else [*argv, "--all"], timeout=60)
        if done.returncode != 0:
            raise image_store.ImageStoreError("preflight_failed", done.stderr.strip()[-_TAIL:])
        return bool(done.stdout.strip())

    def remove(self) -> None:
        """Take it down, with its networks and what was remembered of it; images stay. Not there is no
        error."""
        done = image_store.docker(
            ["compose", "-p", self.name, "down", "--remove-orphans"], timeout=DOWN_SECONDS
        )
        if done.returncode != 0:
            raise image_store.ImageStoreError("compose_up_failed", done.stderr.strip()[-_TAIL:])
        (self._folder / "compose.yaml").unlink(missing_ok=True)
        if self.name.endswith(tuple(f"-{colour}" for colour in colours.COLOURS)):
            shutil.rmtree(self._folder, ignore_errors=True)


def drain(port: int | None, colour: str, seconds: int) -> int:
    """Wait for the last connection to a colour to end, at most so long; answers how many are left.

    What Docker itself publishes is translated by the kernel and seen by no socket of the host, so `plain` is
    given the whole time.
    """
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.25)
        if colour != colours.PLAIN and port and not colours.established(port):
            return 0
    return colours.established(port) if port else 0
