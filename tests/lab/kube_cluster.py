# SPDX-License-Identifier: Apache-2.0
"""A whole cluster: an API server on this machine, and a node in a lab host that runs real pods."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from . import image, kube_assets, kube_node, pause
from .command import LabError, run_bytes
from .host import LabHost
from .kube import KubeApi
from .lab import Lab

IMPORT = ["ctr", "--namespace", "k8s.io", "images", "import", "-"]


class KubeCluster:
    """One node, one API server on the lab's bridge, kube-proxy for Services, no DNS and no registry.

    Images come as archives (`load`); any other is refused by the node at once. Pods have addresses that the node
    reaches and this machine does not; a Service of type NodePort is reached at `node.address`.
    """

    def __init__(self, lab: Lab, name: str = "kube") -> None:
        self.lab = lab
        self.name = name
        self.api = KubeApi(lab.gateway)
        self._node: LabHost | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def node(self) -> LabHost:
        """The host that runs the pods. Raises LabError before `start`."""
        if self._node is None:
            raise LabError("the cluster was not started")
        return self._node

    def start(self) -> None:
        """Start the API server, make the host and wait until its node is ready to run pods."""
        if absent := kube_assets.why_not(node=True):
            raise LabError(absent)
        self.api.start()
        try:
            self._start_scheduler()
            # One left by a process that was killed trusts an authority that is no more.
            with contextlib.suppress(KeyError):
                self.lab.known_host(self.name).remove()
            self._node = self.lab.host(self.name, docker=False)
            image.put_files(self.lab.engine, self.node.container, kube_node.files(self.api, self.node))
            self.node.exec(["systemctl", "daemon-reload"])
            self.node.exec(["systemctl", "enable", "--now", *kube_node.SERVICES])
            self._load(pause.archive())
            self._wait()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Remove the node's host with all its pods, and end the API server."""
        if self._node is not None:
            self._node.remove()
            self._node = None
        self.api.stop()

    def load(self, archive: Path) -> None:
        """Give the node the images of a Docker archive, under the names that it has for them."""
        self._load(archive.read_bytes())

    def _load(self, archive: bytes) -> None:
        words = self.lab.engine.argv("exec", "-i", self.node.container, *IMPORT)
        end = time.monotonic() + 30
        while self.node.exec(["ctr", "version"], check=False).returncode != 0 and time.monotonic() < end:
            time.sleep(0.1)
        run_bytes(words, archive)

    def _start_scheduler(self) -> None:
        kubeconfig = self.api.credential("system:kube-scheduler")
        self.api.processes.start(
            "kube-scheduler",
            [
                f"--kubeconfig={kubeconfig}",
                f"--authentication-kubeconfig={kubeconfig}",
                f"--authorization-kubeconfig={kubeconfig}",
                "--leader-elect=false",
                "--secure-port=0",
            ],
        )

    def _wait(self, seconds: float = 90) -> None:
        end = time.monotonic() + seconds
        while not self._is_ready():
            if time.monotonic() > end:
                log = self.node.exec(["journalctl", "-n", "60", "--no-pager"], check=False).stdout
                raise LabError(f"node {self.name} was not ready in {seconds:g} s\n{log}")
            time.sleep(0.2)

    def _is_ready(self) -> bool:
        """Whether the node says so and no taint keeps pods away."""
        done = self.api.kubectl(["get", "node", self.name, "-o", "json"], check=False)
        if done.returncode != 0:
            return False
        node = json.loads(done.stdout)
        conditions = {row["type"]: row["status"] for row in node["status"].get("conditions", [])}
        return conditions.get("Ready") == "True" and not node["spec"].get("taints")
