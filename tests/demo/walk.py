# SPDX-License-Identifier: Apache-2.0
"""The walk itself: v1 to development, v2 to production, v3 that fails, and back to v2. REST only.

`make demo` prints it as it goes, and a test checks it, so that the demo cannot rot.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import httpx

from .rest import Person

COMPOSE = """\
services:
  web:
    image: shop:{{ version }}
    restart: unless-stopped
    ports: ["{{ port }}:8080"]
    environment:
      GREETING: "{{ greeting }}"
    healthcheck:
      test: ["CMD", "busybox", "wget", "-q", "-O", "-", "http://127.0.0.1:8080/healthz"]
      interval: 1s
      timeout: 2s
      retries: 3
"""
VARIABLES = {
    "version": {"type": "string", "required": True},
    "port": {"type": "integer", "default": 8080, "minimum": 1, "maximum": 65535},
    "greeting": {"type": "string", "default": "hello"},
}
PORTS = {"development": 8081, "production": 8080}
# What whoever watched the walk may do next, as arguments of `tidegate`.
ANOTHER_RELEASE = (
    "release", "apply", "--target", "shop-development", "--service", "shop", "--version", "2",
    "--var", "version=2", "--var", f"port:={PORTS['development']}",
)  # fmt: skip


class Host(Protocol):
    """A machine to release to."""

    name: str
    address: str
    key_path: Path

    def host_public_key(self) -> str:
        """Its host key, as its console shows it."""
        ...


class Teller(Protocol):
    """Who is told what happens."""

    def chapter(self, title: str) -> None:
        """Something new begins."""
        ...

    def fact(self, text: str) -> None:
        """Something was done or seen."""
        ...

    def event(self, event: dict[str, Any]) -> None:
        """An event of a timeline, as it happens."""
        ...


@dataclass
class Walked:
    """What the walk made and saw."""

    requester: Person
    approver: Person
    project_id: str
    url: str
    admin_token: str
    targets: dict[str, str]
    releases: dict[str, dict[str, Any]] = field(default_factory=dict)
    timelines: dict[str, list[str]] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)


def walk(
    url: str, admin_token: str, host: Host, archive: Callable[[str, bool], Path], tell: Teller
) -> Walked:
    """Walk from an empty installation to a rolled back release.

    Args:
        archive: gives the image archive of a version; its second argument says whether it is a healthy one.
    """
    admin = Person(url, "admin", admin_token)
    walked = _prepare(url, admin, host, archive, tell)
    requester = walked.requester

    tell.chapter("Version 1 to development: policy asks for no approval")
    _released(walked, "v1", _preview(walked, "development", "1", tell), tell)
    _asked(walked, "v1", host.address, "development", tell)

    tell.chapter("Version 2 to production: another person has to approve")
    _released(walked, "v2", _preview(walked, "production", "2", tell), tell)
    _asked(walked, "v2", host.address, "production", tell)

    tell.chapter("Version 3 to production: its health check fails")
    failed = _released(walked, "v3", _preview(walked, "production", "3", tell), tell)
    _tell_diagnostics(failed, tell)

    tell.chapter("Back to version 2: a rollback has its own preview and its own approval")
    shown = requester.post(f"/deploy/releases/{failed['release_id']}/rollback/preview")
    _released(walked, "rollback", shown, tell, undone=failed["release_id"])
    _asked(walked, "rollback", host.address, "production", tell)
    walked.releases["v3"] = requester.get(f"/deploy/releases/{failed['release_id']}")
    tell.fact(f"the release of version 3 is now `{walked.releases['v3']['lifecycle_state']}`")
    return walked


def _prepare(
    url: str, admin: Person, host: Host, archive: Callable[[str, bool], Path], tell: Teller
) -> Walked:
    tell.chapter("Project, people, host, environments, service, targets")
    project_id = admin.post("/projects", {"name": "shop"})["id"]
    requester = _person(url, admin, "requester", "operator", project_id)
    approver = _person(url, admin, "approver", "approver", project_id)
    tell.fact("project `shop`; `requester` may release, `approver` may approve")

    host_id = _trusted_host(admin, project_id, host)
    tell.fact(f"host `{host.name}` at {host.address}: its key was compared with its console and pinned")
    targets = {}
    for stage in PORTS:
        environment = admin.post(
            "/environments",
            {
                "project_id": project_id,
                "name": stage,
                "stage": stage,
                "runtime_type": "compose",
                "host_ids": [host_id],
            },
        )
        target = admin.post(
            "/deploy/targets",
            {
                "project_id": project_id,
                "name": f"shop-{stage}",
                "environment_id": environment["id"],
                "host_ids": [host_id],
            },
        )
        targets[stage] = target["id"]
    service = admin.post("/services", {"project_id": project_id, "name": "shop", "runtime_type": "compose"})
    for version in ("1", "2", "3"):
        artifact = admin.push(archive(version, version != "3"), project_id)
        admin.post(
            f"/services/{service['id']}/versions",
            {
                "version": version,
                "template": COMPOSE,
                "variable_schema": VARIABLES,
                "images": [{"reference": f"shop:{version}", "artifact": artifact["digest"]}],
                "health_timeout": 30,
            },
        )
    tell.fact("service `shop` with versions 1, 2, 3; their image archives are kept by digest")
    return Walked(requester, approver, project_id, url, admin.token, targets)


def _person(url: str, admin: Person, name: str, role: str, project_id: str) -> Person:
    user = admin.post("/users", {"name": name})
    admin.post(
        "/bindings",
        {
            "subject_type": "user",
            "subject_id": user["id"],
            "role": role,
            "scope_type": "project",
            "scope_id": project_id,
        },
    )
    token = admin.post("/tokens", {"user_id": user["id"], "name": "demo"})
    return Person(url, name, token["token"])


def _trusted_host(admin: Person, project_id: str, host: Host) -> str:
    made = admin.post(
        "/hosts",
        {
            "project_id": project_id,
            "name": host.name,
            "address": host.address,
            "user": "root",
            "private_key": host.key_path.read_text(),
        },
    )
    seen = admin.post(f"/hosts/{made['id']}/host-key/fetch")
    on_console = host.host_public_key().split()[1]
    if on_console not in seen["host_key"].split():
        raise AssertionError(f"the host shows {seen['line']}, its console {on_console}")
    admin.post(f"/hosts/{made['id']}/host-key/confirm", {"fingerprint": seen["fingerprint"]})
    return str(made["id"])


def _preview(walked: Walked, stage: str, version: str, tell: Teller) -> dict[str, Any]:
    shown = walked.requester.post(
        "/deploy/releases/preview",
        {
            "target_id": walked.targets[stage],
            "service": "shop",
            "version": version,
            "variables": {"version": version, "port": PORTS[stage]},
        },
    )
    preview = shown["preview"]
    tell.fact(f"preview {preview['preview_ref']}: risk {preview['risk_level']}, {preview['summary']}")
    for check in preview["checks"]:
        tell.fact(f"check {check['level']} {check['code']}: {check['message']}")
    return dict(shown)


def _released(
    walked: Walked, name: str, shown: dict[str, Any], tell: Teller, undone: str | None = None
) -> dict[str, Any]:
    """Apply a preview, approve it where that is asked for, follow it to its end, and return how it ended."""
    requester = walked.requester
    body = {"preview_ref": shown["preview"]["preview_ref"]}
    path = f"/deploy/releases/{undone}/rollback" if undone else "/deploy/releases/apply"
    release = requester.post(path, body)
    if release["lifecycle_state"] == "pending_approval":
        ticket = walked.approver.get(f"/approvals/inbox/{release['approval_ticket']}")
        tell.fact(f"ticket {ticket['ticket']}: {ticket['summary']}, risk {ticket['risk_level']}")
        walked.approver.post(
            f"/approvals/inbox/{ticket['ticket']}/approve",
            {"comment": "previewed, looks right", "expected_digest": ticket["preview_digest"]},
        )
    walked.timelines[name] = []
    for event in requester.follow(release["release_id"]):
        walked.timelines[name].append(event["action"])
        tell.event(event)
    ended: dict[str, Any] = requester.get(f"/deploy/releases/{release['release_id']}")
    walked.releases[name] = ended
    tell.fact(f"{ended['release_id']} is `{ended['lifecycle_state']}`")
    return ended


def _asked(walked: Walked, name: str, address: str, stage: str, tell: Teller) -> None:
    """Ask the released service itself, as its users do."""
    url = f"http://{address}:{PORTS[stage]}/"
    until = time.monotonic() + 10
    while True:
        try:
            walked.answers[name] = httpx.get(url, timeout=5).text.strip()
            break
        except httpx.TransportError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
    tell.fact(f"{url} answers `{walked.answers[name]}`")


def _tell_diagnostics(failed: dict[str, Any], tell: Teller) -> None:
    diagnostics = failed["diagnostics_json"] or {}
    tell.fact(
        f"{diagnostics.get('error_key')} ({diagnostics.get('failure_domain')}): {diagnostics.get('summary')}"
    )
    for thing in diagnostics.get("objects", []):
        tell.fact(
            f"container {thing.get('container')}: {thing.get('state')}, health {thing.get('health')},"
            f" exit code {thing.get('exit_code')}"
        )
        for part in (thing.get("health_log"), thing.get("log_tail")):
            if part:
                tell.fact("  | " + str(part).strip().replace("\n", "\n  | "))
