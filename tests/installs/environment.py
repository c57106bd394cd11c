# SPDX-License-Identifier: Apache-2.0
"""An environment that is installed through the API, and what is asked of it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.conformance.site import Site
from tests.lab import LabHost

ENDS = ("succeeded", "failed", "rolled_back", "cancelled")
_numbers = itertools.count(1)


@dataclass
class Environment:
    """One environment with its hosts; `path` is its own in the API."""

    site: Site
    id: str
    hosts: Sequence[LabHost]

    @classmethod
    def make(cls, site: Site, *hosts: LabHost, stage: str = "development", **more: Any) -> Environment:
        """Register the hosts (those that are not) and make an environment of them."""
        ids = [site.register(host) for host in hosts]
        body = {"project_id": site.project_id, "name": f"inst{next(_numbers)}", "stage": stage}
        body |= {"mode": "platform_managed", "host_ids": ids, **more}
        return cls(site, str(site.admin.post("/environments", body)["id"]), hosts)

    @property
    def path(self) -> str:
        return f"/environments/{self.id}"

    def show(self) -> dict[str, Any]:
        """Return it as the API shows it."""
        return dict(self.site.admin.get(self.path))

    def preview(self, kind: str = "install", **asked: Any) -> dict[str, Any]:
        """Preview, and wait for it."""
        made = self.site.admin.post(f"{self.path}/install/preview", {"kind": kind, **asked})
        return dict(made)

    def apply(self, preview: dict[str, Any]) -> dict[str, Any]:
        """Apply a preview; come back at once."""
        verb = {"rollback": "rollback", "removal": "removal"}.get(preview["kind"], "apply")
        assert preview["preview_ref"], preview["preview"]["checks"]
        done = self.site.admin.post(f"{self.path}/install/{verb}", {"preview_ref": preview["preview_ref"]})
        return dict(done)

    def install(self, kind: str = "install", **asked: Any) -> dict[str, Any]:
        """Preview, apply, wait for the end."""
        return self.ended(self.apply(self.preview(kind, **asked))["task_id"])

    def task(self, task_id: str) -> dict[str, Any]:
        """Return a task with its steps."""
        return dict(self.site.admin.get(f"{self.path}/install/tasks/{task_id}"))

    def ended(self, task_id: str, seconds: float = 400) -> dict[str, Any]:
        """Wait for the end of a task and return it."""
        return self.when(task_id, lambda task: task["state"] in ENDS, seconds)

    def when(
        self, task_id: str, is_so: Callable[[dict[str, Any]], bool], seconds: float = 120
    ) -> dict[str, Any]:
        """Wait until something holds of a task, and return it then."""
        until = time.monotonic() + seconds
        while not is_so(task := self.task(task_id)):
            assert time.monotonic() < until, task
            time.sleep(0.2)
        return task

    def told(self, task: dict[str, Any]) -> list[str]:
        """Return the names of a task's events in order."""
        path = f"{self.path}/install/tasks/{task['task_id']}/timeline"
        items = self.site.admin.get(path, limit=500)["items"]
        return [event["action"].removeprefix("environment.install_") for event in items]

    def health(self) -> dict[str, Any]:
        """Ask for a check, wait for it, and return what it found."""
        job = self.site.admin.post(f"{self.path}/health/check")
        until = time.monotonic() + 120
        while self.site.admin.get(f"/jobs/{job['job_id']}")["state"] != "done":
            assert time.monotonic() < until
            time.sleep(0.2)
        return dict(self.show()["health"])


def statuses(task: dict[str, Any], host: LabHost) -> dict[str, str]:
    """Return the steps of a task on a host, with where they stand."""
    return {step["step"]: step["status"] for step in task["steps"] if step["host"] == host.name}
