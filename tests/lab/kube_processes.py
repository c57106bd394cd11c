# SPDX-License-Identifier: Apache-2.0
"""Programs of a cluster as children of this process, which die with it however it ends."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from . import kube_assets
from .command import LabError

PREFIX = "tidegate-kube-"
OWNER = re.compile(rf"{PREFIX}(\d+)-")
# In memory: etcd writes much that nobody wants to keep.
PLACES = (Path("/dev/shm"), Path(tempfile.gettempdir()))


class Processes:
    """The programs of one cluster and the folder that they live in, both gone after `stop`.

    The kernel kills them when the thread that started them ends, so start them from one that lasts.
    """

    def __init__(self) -> None:
        _remove_leftovers()
        place = next(place for place in PLACES if os.access(place, os.W_OK))
        self.folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=place))
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, arguments: list[str], environment: dict[str, str] | None = None) -> None:
        """Start a program of the assets folder; its output goes to `<name>.log`."""
        words = ["setpriv", "--pdeathsig", "KILL", str(kube_assets.program(name)), *arguments]
        with self._log(name).open("ab") as log:
            self._running[name] = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={"PATH": os.defpath, "HOME": str(self.folder), **(environment or {})},
                start_new_session=True,
            )

    def wait(self, name: str, ready: Callable[[], bool], seconds: float) -> None:
        """Wait until a program is ready. Raises LabError with the end of its log when it ends or takes longer."""
        end = time.monotonic() + seconds
        while not ready():
            code = self._running[name].poll()
            if code is not None or time.monotonic() > end:
                how = f"ended with exit code {code}" if code is not None else f"not ready in {seconds:g} s"
                raise LabError(f"{name}: {how}\n{self.log_end(name)}")
            time.sleep(0.05)

    def pids(self) -> dict[str, int]:
        """The process ids of what runs."""
        return {name: child.pid for name, child in self._running.items() if child.poll() is None}

    def log_end(self, name: str, characters: int = 4000) -> str:
        """The last words of a program."""
        return self._log(name).read_text(errors="replace")[-characters:]

    def end(self, name: str, patience: float = 5.0) -> None:
        """End one program, by force after `patience` seconds."""
        child = self._running.pop(name)
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(patience)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def stop(self) -> None:
        """End what runs, the last started first, and remove the folder."""
        for name in reversed(list(self._running)):
            # Nothing here is worth a slow goodbye, and the API server's takes a minute.
            self.end(name, patience=1.0)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"


def _remove_leftovers() -> None:
    """Remove folders of processes that were killed."""
    for place in PLACES:
        for folder in place.glob(f"{PREFIX}*"):
            owner = OWNER.match(folder.name)
            if owner and not Path(f"/proc/{owner[1]}").exists():
                shutil.rmtree(folder, ignore_errors=True)
