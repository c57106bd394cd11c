# SPDX-License-Identifier: Apache-2.0
"""What is asked of the certificates of a cluster, and where its control plane stands while they are rotated."""

from __future__ import annotations

import ssl
import time
from typing import Any

from tests.installs.environment import ENDS
from tests.installs.made_cluster import MadeCluster
from tests.lab import LabHost

PODS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")


class Rotations:
    """What is asked of a cluster's certificates."""

    def __init__(self, cluster: MadeCluster) -> None:
        self.cluster, self.admin = cluster, cluster.site.admin
        self.path = f"/clusters/{cluster.id}/certs"

    def rows(self) -> dict[str, dict[str, Any]]:
        """Look now, and return each certificate of the only control plane by name."""
        [(host, rows)] = self.rows_by_host().items()
        assert host == self.cluster.host.name
        return rows

    def rows_by_host(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Look now, and return for each control plane its certificates by name."""
        job = self.admin.post(f"{self.path}/check")
        until = time.monotonic() + 120
        while (job := self.admin.get(f"/jobs/{job['job_id']}"))["state"] != "done":
            assert time.monotonic() < until, job
            time.sleep(0.2)
        assert job["outcome"] == "succeeded"
        hosts = self.admin.get(self.path)["hosts"]
        return {host["host"]: {row["name"]: row for row in host["certificates"]} for host in hosts}

    def preview(self) -> dict[str, Any]:
        return dict(self.admin.post(f"{self.path}/rotate/preview", {}))

    def start(self, preview: dict[str, Any]) -> str:
        assert preview["preview_ref"], preview["preview"]["checks"]
        body = {"preview_ref": preview["preview_ref"]}
        return str(self.admin.post(f"{self.path}/rotate/apply", body)["task_id"])

    def ended(self, task_id: str, seconds: float = 900) -> dict[str, Any]:
        until = time.monotonic() + seconds
        while (task := self.admin.get(f"{self.path}/rotate/tasks/{task_id}"))["state"] not in ENDS:
            assert time.monotonic() < until, task
            time.sleep(0.2)
        return dict(task)

    def ages_of_pods(self) -> dict[str, int]:
        """For how many seconds each pod's program has run."""
        lines = self.cluster.host.exec(["ps", "-eo", "etimes=,args="]).stdout.splitlines()
        found = [line.split()[:2] for line in lines]
        ages = {program.rpartition("/")[2]: int(age) for age, program in found}
        return {name: ages[name] for name in PODS}

    def age_of_files(self) -> int:
        """For how many seconds the newest of the control plane's certificates has been there, and one more."""
        host = self.cluster.host
        written = host.exec(["stat", "--format", "%Y", "/etc/kubernetes/scheduler.conf"]).stdout
        return int(host.exec(["date", "+%s"]).stdout) - int(written) + 1

    def served(self, host: LabHost | None = None) -> str:
        """The certificate that an API server shows."""
        return ssl.get_server_certificate(((host or self.cluster.host).address, 6443))

    def until_away(self, pod: str, host: LabHost | None = None) -> None:
        """Wait until a rotation has taken a pod's manifest away: the worst moment to die in."""
        path = f"/etc/kubernetes/tidegate-away/{pod}.yaml"
        until = time.monotonic() + 300
        while (host or self.cluster.host).exec(["test", "-e", path], check=False).returncode != 0:
            assert time.monotonic() < until
            time.sleep(0.05)

    def told(self, task_id: str) -> list[str]:
        """Return the names of a rotation's events in order."""
        items = self.admin.get(f"{self.path}/rotate/tasks/{task_id}/timeline", limit=500)["items"]
        return [event["action"].removeprefix("cluster.cert_rotation_") for event in items]


def serials(rows: dict[str, dict[str, Any]], kind: str = "certificate") -> dict[str, str]:
    return {name: row["serial"] for name, row in rows.items() if row["kind"] == kind}
