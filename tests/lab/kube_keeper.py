# SPDX-License-Identifier: Apache-2.0
"""A Kubernetes that stays up for a person: `python -m tests.lab kube up|down|status|kubeconfig`.

`up` leaves a keeper process behind that owns the API server, and the node where there can be one; all of it dies
with the keeper. What a client needs is in the lab's folder while it runs.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import kube_assets
from .command import LabError
from .kube import KubeApi
from .kube_cluster import KubeCluster
from .lab import Lab

MODULE = "tests.lab.kube_keeper"
IMAGES = ("1", "2")


def up(lab: Lab, seconds: float = 300) -> dict[str, Any]:
    """Start a keeper unless there is one; answers `status`. Raises LabError with its log when it fails."""
    if absent := kube_assets.why_not():
        raise LabError(absent)
    if not _keeper(lab):
        lab.folder.mkdir(parents=True, exist_ok=True)
        lab.folder.chmod(0o700)
        _facts_path(lab).unlink(missing_ok=True)
        log_path = lab.folder / "kube.log"
        with log_path.open("wb") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", MODULE, lab.name],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + seconds
        while not _facts_path(lab).exists():
            if child.poll() is not None or time.monotonic() > end:
                raise LabError(f"Kubernetes did not start\n{log_path.read_text(errors='replace')[-4000:]}")
            time.sleep(0.1)
    return status(lab)


def down(lab: Lab, seconds: float = 60) -> None:
    """End the keeper and delete everything that it made."""
    if pid := _keeper(lab):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + seconds
    while pid := _keeper(lab):
        if time.monotonic() > end:
            raise LabError(f"the keeper (process {pid}) does not end")
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        time.sleep(0.1)
    lab.down()


def status(lab: Lab) -> dict[str, Any]:
    """What runs: `up`, and then `kubeconfig` (a path), `endpoint`, `node` (its address or null)."""
    if not _keeper(lab) or not _facts_path(lab).exists():
        return {"name": lab.name, "up": False}
    return {"name": lab.name, "up": True, **json.loads(_facts_path(lab).read_text())}


def kubeconfig(lab: Lab) -> str:
    """The path of the administrator's kubeconfig. Raises LabError when nothing runs."""
    facts = status(lab)
    if not facts["up"]:
        raise LabError(f"no Kubernetes runs in the lab {lab.name}: python -m tests.lab kube up")
    return str(facts["kubeconfig"])


def export_line(facts: dict[str, Any]) -> str:
    """What a person types to use it, with a word on what there is."""
    what = (
        f"a node at {facts['node']} runs shop:1 and shop:2" if facts["node"] else "no node: pods stay Pending"
    )
    return f"# {facts['endpoint']}; {what}\nexport KUBECONFIG={facts['kubeconfig']}"


def _facts_path(lab: Lab) -> Path:
    return lab.folder / "kube.json"


def _keeper(lab: Lab) -> int | None:
    """The keeper's process, made sure of by its arguments; the kernel's list also knows one that just began."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().decode(errors="replace").split("\0")
            if words[1:4] == ["-m", MODULE, lab.name] and int(path.parent.name) != os.getpid():
                return int(path.parent.name)
    return None


@contextlib.contextmanager
def _running(lab: Lab) -> Iterator[dict[str, Any]]:
    why_no_node = "not root" if os.geteuid() else kube_assets.why_not(node=True)
    if why_no_node:
        print(f"no node: {why_no_node}", flush=True)
        with KubeApi() as api:
            yield {"endpoint": api.endpoint, "node": None, "admin": api.kubeconfig.read_text()}
        return
    lab.up()
    with KubeCluster(lab) as cluster:
        for version in IMAGES:
            cluster.load(lab.app_archive(version))
        api = cluster.api
        yield {"endpoint": api.endpoint, "node": cluster.node.address, "admin": api.kubeconfig.read_text()}


def _end(*_: object) -> None:
    # Told twice, it must still clean up.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(0)


def main() -> None:
    """Keep the Kubernetes of the lab that the argument names until told to end."""
    lab = Lab(sys.argv[1])
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    with _running(lab) as facts:
        path = lab.folder / "kubeconfig"
        path.touch(mode=0o600)
        path.write_text(facts.pop("admin"))
        making = _facts_path(lab).with_suffix(".making")
        making.write_text(json.dumps({"kubeconfig": str(path), **facts}))
        making.rename(_facts_path(lab))
        while True:
            signal.pause()


if __name__ == "__main__":
    main()
