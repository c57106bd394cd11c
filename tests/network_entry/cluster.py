# SPDX-License-Identifier: Apache-2.0
"""A cluster with a network entry, as it is worked with through the API."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from controlplane import bootstrap
from controlplane import settings as configuration
from controlplane.domain.identifier import new_id
from controlplane.store import tables
from tests.conformance.site import Site
from tests.lab import LabHost

ENDS = ("succeeded", "failed", "rolled_back", "cancelled")
PASSWORD = "canary8x"
_numbers = itertools.count(1)


@dataclass
class Cluster:
    """A cluster that Tidegate knows, of hosts that are registered; `path` is its entry's own in the API."""

    site: Site
    id: str
    name: str
    hosts: Sequence[LabHost]
    vip: str

    @classmethod
    def make(cls, site: Site, hosts: Sequence[LabHost], vip: str, stage: str = "development") -> Cluster:
        """Register hosts and bring in a cluster that is used in a stage.

        The row is written past the API, which would connect: there is a TLS service and no API server behind.
        """
        known = {one["name"] for one in site.admin.get("/hosts", project_id=site.project_id)["items"]}
        for host in hosts:
            if host.name not in known:
                site.register(host)
        name = f"blue-{next(_numbers)}"
        body = {"project_id": site.project_id, "name": name, "stage": stage, "runtime_type": "k8s"}
        environment_id = site.admin.post("/environments", body)["id"]
        cluster_id = _write(site, name, environment_id, hosts[0].address)
        return cls(site, cluster_id, name, hosts, vip)

    @property
    def path(self) -> str:
        return f"/clusters/{self.id}/network-entry"

    def show(self) -> dict[str, Any]:
        return dict(self.site.admin.get(self.path))

    def asked(self, **lvs_vip: Any) -> dict[str, Any]:
        """What these tests ask for: this machine's kernel may have no IPVS, so the active director itself serves."""
        return {
            "vip_address": f"{self.vip}/24",
            "virtual_router_id": 81,
            "auth_pass": PASSWORD,
            "backend_nodes": [host.name for host in self.hosts],
            "balancer": "none",
            "certificate_check": "required",
            "health_check": {"kind": "https"},
            "listen_seconds": 1.5,
            "retry_policy": {"max_retries": 3, "backoff_seconds": 0.5},
            **lvs_vip,
        }

    def preview(self, kind: str = "apply", remove: bool = False, **lvs_vip: Any) -> dict[str, Any]:
        """Preview, and wait for it however long a host that does not answer takes."""
        body: dict[str, Any] = {"kind": kind, "remove": remove}
        if kind == "apply":
            body["lvs_vip"] = self.asked(**lvs_vip)
        made = self.site.admin.post(f"{self.path}/preview", body)
        if made["status"] != "previewing":
            return dict(made)
        return self.when(made["task_id"], lambda task: task["status"] != "previewing", 240)

    def start(self, preview: dict[str, Any]) -> dict[str, Any]:
        """Do what a preview showed; come back at once."""
        assert preview["preview_ref"], preview["preview"]["checks"]
        verb = preview["kind"].replace("_", "-")
        return dict(self.site.admin.post(f"{self.path}/{verb}", {"preview_ref": preview["preview_ref"]}))

    def do(self, kind: str = "apply", remove: bool = False, **lvs_vip: Any) -> dict[str, Any]:
        """Preview, do it, wait for the end."""
        return self.ended(self.start(self.preview(kind, remove, **lvs_vip))["task_id"])

    def task(self, task_id: str) -> dict[str, Any]:
        return dict(self.site.admin.get(f"{self.path}/tasks/{task_id}"))

    def ended(self, task_id: str, seconds: float = 240) -> dict[str, Any]:
        return self.when(task_id, lambda task: task["state"] in ENDS, seconds)

    def when(
        self, task_id: str, is_so: Callable[[dict[str, Any]], bool], seconds: float = 120
    ) -> dict[str, Any]:
        """Wait until something holds of a task, and return it then."""
        until = time.monotonic() + seconds
        while not is_so(task := self.task(task_id)):
            assert time.monotonic() < until, task
            time.sleep(0.1)
        return task

    def until(self, is_so: Callable[[dict[str, Any]], bool], seconds: float = 60) -> dict[str, Any]:
        """Wait until something holds of the entry as GET tells it, and return it then."""
        end = time.monotonic() + seconds
        while not is_so(shown := self.show()):
            assert time.monotonic() < end, shown
            time.sleep(0.2)
        return shown

    def events(self, task: dict[str, Any]) -> list[dict[str, Any]]:
        path = f"{self.path}/tasks/{task['task_id']}/timeline"
        return list(self.site.admin.get(path, limit=500)["items"])

    def told(self, task: dict[str, Any]) -> list[str]:
        """Return the names of a task's events in order."""
        return [event["action"].removeprefix("network_entry.") for event in self.events(task)]

    def holders(self) -> list[str]:
        """Who has the VIP."""
        return [
            host.name
            for host in self.hosts
            if host.state() == "running" and f" {self.vip}/" in host.exec(["ip", "-4", "address"]).stdout
        ]


def step(task: dict[str, Any], host: LabHost, name: str) -> dict[str, Any] | None:
    """Return a step of a task on a host, None where it did not come to it."""
    rows = [one for one in task["steps"] if (one["host"], one["step"]) == (host.name, name)]
    return dict(rows[0]) if rows else None


def _write(site: Site, name: str, environment_id: str, address: str) -> str:
    core = bootstrap.build_core(configuration.load({"TIDEGATE_HOME": str(site.home)}))
    try:
        with core.database.write() as session:
            row = tables.Cluster(
                id=new_id("cls"),
                project_id=site.project_id,
                name=name,
                environment_id=environment_id,
                endpoint=f"https://{address}:6443",
                kubeconfig_cipher=core.vault.encrypt(b"{}"),
                credential_kind="token",
                created_by="test",
                created_at=core.clock.now(),
            )
            session.add(row)
            for host in session.query(tables.Host).filter_by(project_id=site.project_id):
                session.add(
                    tables.EnvironmentNode(
                        environment_id=environment_id, host_id=host.id, role="control_plane"
                    )
                )
            session.flush()
            return str(row.id)
    finally:
        core.queue.close()
        core.database.engine.dispose()
