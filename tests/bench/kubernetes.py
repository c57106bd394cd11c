# SPDX-License-Identifier: Apache-2.0
"""A release to a cluster beside kubectl: nothing new of 50 objects, a preview of 200, the memory of 5 MB."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.automation.cluster_release import (
    CONFIG,
    DEPLOYMENT,
    DIGEST,
    SECRET,
    SERVICE,
    ClusterReleases,
)
from tests.bench.figure import Figure, seconds, side_by_side
from tests.lab import kube_assets
from tests.lab.kube import KubeApi

EMPTY = """\
- hosts: release_clusters
  gather_facts: false
  connection: local
  tasks: [{ansible.builtin.debug: {msg: nothing}}]
"""
DEPLOYMENTS_OF_5_MB = 1500
# Each Deployment has so many settings that all of them together are 5 MB.
SETTINGS = "".join(
    f"        - {{name: V{number}, value: 'some value {number} and words and words more to fill it'}}\n"
    for number in range(38)
)


def measure(folder: Path, rounds: int) -> list[Figure]:
    """Return the figures; none where the Kubernetes programs are missing."""
    if absent := kube_assets.why_not():
        print(f"kubernetes is left out: {absent}", file=sys.stderr)
        return []
    work = folder / "kubernetes"
    work.mkdir()
    with KubeApi() as api:
        beside = Beside(api, work)
        return [beside.unchanged(rounds), beside.preview(rounds), beside.memory()]


class Beside:
    """Two namespaces with the same objects: ours and kubectl's."""

    def __init__(self, api: KubeApi, folder: Path) -> None:
        self._api, self._folder = api, folder
        self._theirs = api.new_namespace()
        self._ours = ClusterReleases(api.kubeconfig, api.new_namespace(), folder)
        self._token = 0
        self._empty = folder / "empty.yml"
        self._empty.write_text(EMPTY)

    def unchanged(self, rounds: int) -> Figure:
        """Apply 50 objects that are there as they should be."""
        parts = _parts(50, "a")
        path = self._write(parts)
        self._kubectl("apply", path)
        self._ours.release(self._ours.spec("rel_1", *parts), 1)
        bound = self._ours.previewed(self._ours.spec("rel_2", *parts), 2)

        def ours() -> float:
            took = seconds(lambda: self._run("apply", bound))
            assert self._ours.result("apply")["changed"] is False
            return took

        took, (applied, compared, start) = side_by_side(
            ours,
            [
                lambda: seconds(lambda: self._kubectl("apply", path)),
                lambda: seconds(lambda: self._kubectl("diff", path)),
                lambda: seconds(self._start),
            ],
            rounds,
        )
        return Figure(
            "apply of 50 unchanged objects, less one Ansible start", max(0.0, took - start), "s", 1.3,
            "kubectl apply and diff, server-side", applied + compared,
        )  # fmt: skip

    def preview(self, rounds: int) -> Figure:
        """Preview 200 objects of which each fourth changes."""
        self._ours.release(self._ours.spec("rel_3", *_parts(200, "a")), 3)
        self._kubectl("apply", self._write(_parts(200, "a")))
        changed = _parts(200, "b")
        path = self._write(changed)
        spec = self._ours.spec("rel_4", *changed)

        def ours() -> float:
            took = seconds(lambda: self._run("preview", spec))
            assert sum(row["action"] == "change" for row in self._ours.result("preview")["services"]) == 50
            return took

        took, (compared,) = side_by_side(
            ours, [lambda: seconds(lambda: self._kubectl("diff", path, differs=True))], rounds
        )
        return Figure(
            "preview of 200 objects, the whole playbook",
            took,
            "s",
            1.0,
            "kubectl diff, server-side",
            compared,
        )

    def memory(self) -> Figure:
        """Apply 5 MB of manifests; what the process needs beyond an Ansible that does nothing."""
        before = _peak(self._nothing(), self._ours.environment())
        text = "---".join(
            _named(DEPLOYMENT, f"m{number}").replace("{{ replicas }}", "0") + SETTINGS
            for number in range(DEPLOYMENTS_OF_5_MB)
        )
        assert len(text) > 5_000_000, len(text)
        spec = self._ours.previewed(self._ours.spec("rel_5", text), 5)
        after = _peak(self._ours.command("apply", spec), self._ours.environment())
        return Figure("memory of applying 5 MB of manifests, beyond Ansible's own", after - before, "MB", 150)

    def _run(self, verb: str, spec: dict[str, Any]) -> None:
        assert self._ours.run(verb, spec), self._ours.said

    def _start(self) -> None:
        subprocess.run(self._nothing(), capture_output=True, check=True, env=self._ours.environment())

    def _nothing(self) -> list[str]:
        playbook = str(Path(sys.executable).with_name("ansible-playbook"))
        return [playbook, "-i", str(self._folder / "inventory.json"), str(self._empty)]

    def _write(self, parts: Sequence[str]) -> str:
        path = self._folder / "parts.yaml"
        path.write_text("---".join(parts))
        return str(path)

    def _kubectl(self, verb: str, path: str, differs: bool = False) -> None:
        done = self._api.kubectl([verb, "--server-side", "-n", self._theirs, "-f", path], check=False)
        assert done.returncode == (1 if differs else 0), done.stderr


def _parts(count: int, mark: str) -> list[str]:
    kinds = (
        CONFIG.replace("{{ greeting }}", mark),
        SERVICE,
        DEPLOYMENT.replace("{{ replicas }}", "0").replace("{{ image }}", f"x@{DIGEST}"),
        SECRET,
    )
    return [_named(kinds[number % 4].replace("{{ password }}", "x"), f"o{number}") for number in range(count)]


def _named(part: str, name: str) -> str:
    first, _, rest = part.partition("metadata: {name: ")
    return f"{first}metadata: {{name: {name}{rest[rest.index('}') :]}"


def _peak(argv: Sequence[str], environment: dict[str, str]) -> float:
    """Return the most memory (MB) that any process of a command had at a time."""
    script = (
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *argv],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout) * 1024 / 1e6
