# SPDX-License-Identifier: Apache-2.0
"""A served Tidegate with a project to release in, services whose versions tests add, and what is seen on hosts."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.demo.rest import Person, Refused
from tests.lab import Lab, LabHost
from tests.lab.command import LabError

ENDS = ("applied", "failed", "rollback", "rejected", "expired", "cancelled")
VARIABLES = {"tag": {"type": "string", "default": "1"}, "port": {"type": "integer", "default": 8080}}
_numbers = itertools.count(1)


def compose(*services: str, port: bool = True, retries: int = 3, interval: str = "1s") -> str:
    """Return a compose template with these services of the same image; the first has the port."""
    lines = ["services:"]
    for number, name in enumerate(services):
        lines += [f"  {name}:", '    image: "shop:{{ tag }}"', "    stop_grace_period: 1s"]
        if port and number == 0:
            lines.append('    ports: ["{{ port }}:8080"]')
        lines += [
            "    healthcheck:",
            '      test: ["CMD", "busybox", "wget", "-q", "-O", "-", "http://127.0.0.1:8080/healthz"]',
            f"      interval: {interval}",
            f"      retries: {retries}",
        ]
    return "\n".join(lines) + "\n"


@dataclass
class Site:
    """The server, somebody who may do everything, and the project."""

    admin: Person
    project_id: str
    lab: Lab
    hosts: list[LabHost] = field(default_factory=list)
    home: Path = Path("/nonexistent")

    @property
    def run_folder(self) -> Path:
        """Where the files of runs are."""
        return Path(f"/dev/shm/tidegate-{os.geteuid()}-{hashlib.sha256(bytes(self.home)).hexdigest()[:8]}")

    def host(self, name: str, **login: Any) -> tuple[LabHost, str]:
        """Make a machine and register it; `login` may name `user`, `become`, `become_password`, `jump_host_id`."""
        behind = login.pop("behind", None)
        made = self.lab.host(f"cf-{name}", behind=behind, sudo_password=login.get("become_password"))
        self.hosts.append(made)
        return made, self.register(made, **login)

    def register(self, host: LabHost, **login: Any) -> str:
        """Register a machine and pin the key that its console shows."""
        given = {"user": "root", "private_key": Path(host.key_path).read_text(), **login}
        named = {"project_id": self.project_id, "name": host.name, "address": host.address}
        host_id = str(self.admin.post("/hosts", {**named, **given})["id"])
        seen = self.admin.post(f"/hosts/{host_id}/host-key/fetch")
        assert seen["host_key"].split()[1] == host.host_public_key().split()[1]
        self.admin.post(f"/hosts/{host_id}/host-key/confirm", {"fingerprint": seen["fingerprint"]})
        return host_id

    def target(self, *host_ids: str, stage: str = "development") -> str:
        """Make a target on these hosts."""
        name = f"t{next(_numbers)}"
        environment = self.admin.post(
            "/environments",
            {"project_id": self.project_id, "name": name, "stage": stage, "host_ids": list(host_ids)},
        )
        body = {"project_id": self.project_id, "name": name, "environment_id": environment["id"]}
        return str(self.admin.post("/deploy/targets", body)["id"])

    def quiet(self) -> None:
        """Take away what tests released to hosts: each container is asked for its health every second while it runs."""
        for host in self.hosts:
            if host.state() == "running":
                words = ["sh", "-c", "docker ps --quiet | xargs --no-run-if-empty docker rm --force"]
                with contextlib.suppress(LabError):
                    host.exec(words, check=False, timeout=60)

    def service(self, runtime_type: str = "compose") -> Service:
        """Make a service without versions."""
        name = f"s{next(_numbers)}"
        body = {"project_id": self.project_id, "name": name, "runtime_type": runtime_type}
        made = self.admin.post("/services", body)
        return Service(self, str(made["id"]), name)


@dataclass
class Service:
    """A service whose versions tests add as they need them."""

    site: Site
    id: str
    name: str

    def add(self, version: str, template: str, tags: Sequence[str] = (), **rest: Any) -> None:
        """Add a version; `tags` are app versions whose archives it carries (`bad` in one makes it unhealthy)."""
        images = []
        for tag in tags:
            archive = self.site.lab.app_archive(tag, healthy="bad" not in tag, size_mb=rest.get("size_mb", 0))
            digest = self.site.admin.push(archive, self.site.project_id)["digest"]
            images.append({"reference": f"shop:{tag}", "artifact": digest})
        rest.pop("size_mb", None)
        body = {"version": version, "template": template, "variable_schema": VARIABLES, "images": images}
        self.site.admin.post(f"/services/{self.id}/versions", {**body, "health_timeout": 30, **rest})

    def preview(self, target: str, version: str, **asked: Any) -> dict[str, Any]:
        """Preview and wait for it."""
        body = {"target_id": target, "service": self.name, "version": version, **asked}
        made: dict[str, Any] = self.site.admin.post("/deploy/releases/preview", body)
        return made

    def apply(self, preview: dict[str, Any]) -> dict[str, Any]:
        """Apply a preview and wait for its end."""
        self.start(preview)
        return self.ended(preview["release_id"])

    def start(self, preview: dict[str, Any]) -> None:
        """Apply a preview and come back at once."""
        assert preview["preview_ref"], preview["preview"]["checks"]
        self.site.admin.post("/deploy/releases/apply", {"preview_ref": preview["preview_ref"]})

    def release(self, target: str, version: str, **asked: Any) -> dict[str, Any]:
        """Preview, apply, wait."""
        return self.apply(self.preview(target, version, **asked))

    def rollback(self, release: dict[str, Any]) -> dict[str, Any]:
        """Roll a release back and wait."""
        path = f"/deploy/releases/{release['release_id']}/rollback"
        preview = self.site.admin.post(f"{path}/preview", {})
        self.site.admin.post(path, {"preview_ref": preview["preview_ref"]})
        return self.ended(preview["release_id"])

    def ended(self, release_id: str, seconds: float = 150) -> dict[str, Any]:
        """Wait for the end of a release and return it."""
        return self.when(release_id, lambda release: release["lifecycle_state"] in ENDS, seconds)

    def when(
        self, release_id: str, is_so: Callable[[dict[str, Any]], bool], seconds: float = 60
    ) -> dict[str, Any]:
        """Wait until something holds of a release, and return it then."""
        until = time.monotonic() + seconds
        while True:
            release: dict[str, Any] = self.site.admin.get(f"/deploy/releases/{release_id}")
            if is_so(release):
                return release
            assert time.monotonic() < until, release
            time.sleep(0.2)

    def told(self, release: dict[str, Any]) -> list[str]:
        """Return the names of a release's events in order."""
        items = self.site.admin.get(f"/deploy/releases/{release['release_id']}/timeline", limit=500)["items"]
        return [event["action"].removeprefix("release.") for event in items]


class ComposeHosts:
    """What is seen of a release on Docker hosts."""

    runtime_type = "compose"

    def running(self, host: LabHost, service: Service) -> dict[str, str]:
        """Return the container ids of a service's project, by Compose service, that run now."""
        label = "com.docker.compose"
        listed = host.run(
            [
                "docker",
                "ps",
                "--no-trunc",
                "--format",
                f'{{{{.Label "{label}.project"}}}} {{{{.Label "{label}.service"}}}} {{{{.ID}}}}',
            ]
        ).stdout
        rows = [line.split() for line in listed.splitlines()]
        return {row[1]: row[2] for row in rows if len(row) == 3 and row[0].startswith(f"{service.name}-")}

    def answer(self, host: LabHost, port: int) -> str:
        """Return what the released application says."""
        return host.run(["curl", "-sf", "--max-time", "5", f"http://127.0.0.1:{port}/"]).stdout.strip()


__all__ = ["ComposeHosts", "Refused", "Service", "Site", "compose"]
