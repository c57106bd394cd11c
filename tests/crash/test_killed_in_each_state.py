# SPDX-License-Identifier: Apache-2.0
"""Whatever is killed with -9, in whatever state a release is: it comes to one definite end, told once."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest

from controlplane.store.tables import Ticket
from tests.bench.installation import core_of
from tests.conformance.site import ComposeHosts, Service, compose
from tests.crash.installation import KILLED, Installation, assert_ended_once, wait_for
from tests.lab import LabHost

pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.xdist_group("lab-crash")]
each_victim = pytest.mark.parametrize("victim", KILLED)

Hosts = list[tuple[LabHost, str]]
# Healthy after a few seconds, so that there is time to kill while it is waited for.
SLOW = compose("web", port=False, interval="4s", retries=5)
HALF = {"strategy": "canary", "strategy_params": {"mode": "hosts", "percent": 50, "pause_seconds": None}}


def shop(installation: Installation, *host_ids: str, stage: str = "development") -> tuple[Service, str]:
    """Make a service with a quick and a slow version, and a target of its own for it."""
    site = installation.site
    service = site.service()
    service.add("1", compose("web", port=False), ["1", "2"])
    service.add("slow", SLOW, ["1", "2"])
    return service, site.target(*host_ids, stage=stage)


def until_step(service: Service, release: dict[str, Any], step: str) -> None:
    """Wait until the timeline tells that a step has begun."""
    path = f"/deploy/releases/{release['release_id']}/timeline"

    def has_begun() -> bool:
        events = service.site.admin.get(path, limit=500)["items"]
        return any(event["detail"].get("step") == step for event in events)

    wait_for(has_begun, 60)


def runs(service: Service, host: LabHost) -> bool:
    """Say whether the service runs on the host."""
    return bool(ComposeHosts().running(host, service))


@each_victim
def test_previewing(installation: Installation, hosts: Hosts, victim: str) -> None:
    service, target = shop(installation, hosts[0][1])
    body = {"target_id": target, "service": service.name, "version": "1"}
    asked = installation.site.admin.post("/deploy/releases/preview", body, prefer="wait=0")
    installation.kill(victim)
    shown = service.when(asked["release_id"], lambda release: release["status"] == "previewed", 60)
    assert service.told(shown) == ["previewed"]
    service.start(shown)
    assert assert_ended_once(installation, service, shown["release_id"]) == "applied"


@each_victim
def test_previewed(installation: Installation, hosts: Hosts, victim: str) -> None:
    service, target = shop(installation, hosts[0][1])
    shown = service.preview(target, "1")
    installation.kill(victim)
    service.start(shown)
    assert assert_ended_once(installation, service, shown["release_id"]) == "applied"


@each_victim
def test_pending_approval_can_still_be_approved(
    installation: Installation, hosts: Hosts, victim: str
) -> None:
    service, target = shop(installation, hosts[0][1], stage="production")
    shown = service.preview(target, "1")
    service.start(shown)
    pending = service.when(shown["release_id"], lambda release: True)
    assert pending["lifecycle_state"] == "pending_approval"
    installation.kill(victim)
    installation.approver.post(f"/deploy/releases/{shown['release_id']}/approve", {"comment": "after all"})
    assert assert_ended_once(installation, service, shown["release_id"]) == "applied"


def test_pending_approval_expires_while_the_server_is_down(installation: Installation, hosts: Hosts) -> None:
    service, target = shop(installation, hosts[0][1], stage="production")
    shown = service.preview(target, "1")
    service.start(shown)

    def time_passes() -> None:
        core = core_of(installation.home)
        with core.database.write() as session:
            ticket = session.query(Ticket).filter(Ticket.scope_id == shown["release_id"]).one()
            ticket.expires_at = core.clock.now() - timedelta(minutes=1)
        core.database.engine.dispose()

    installation.kill("server", time_passes)
    assert assert_ended_once(installation, service, shown["release_id"]) == "expired"
    assert not runs(service, hosts[0][0])


@each_victim
def test_approved_and_waiting_for_the_lock(installation: Installation, hosts: Hosts, victim: str) -> None:
    first, second = shop(installation, hosts[0][1]), shop(installation, hosts[0][1])
    one, two = first[0].preview(first[1], "slow"), second[0].preview(second[1], "1")
    first[0].start(one)
    first[0].when(one["release_id"], lambda release: release["lifecycle_state"] == "applying")
    second[0].start(two)
    second[0].when(two["release_id"], lambda release: release["status"] == "waiting_lock")
    installation.kill(victim)
    assert assert_ended_once(installation, first[0], one["release_id"]) == "applied"
    assert assert_ended_once(installation, second[0], two["release_id"]) == "applied"
    ended, begun = (
        next(event["seq"] for event in _timeline(installation, release) if event["action"] == action)
        for release, action in ((one, "release.applied"), (two, "release.applying"))
    )
    assert ended < begun


@each_victim
def test_applying_before_anything_was_changed(installation: Installation, hosts: Hosts, victim: str) -> None:
    service, target = shop(installation, hosts[0][1])
    shown = service.preview(target, "1")
    service.start(shown)
    service.when(shown["release_id"], lambda release: release["lifecycle_state"] == "applying")
    installation.kill(victim)
    assert assert_ended_once(installation, service, shown["release_id"]) == "applied"
    assert runs(service, hosts[0][0])


@each_victim
def test_verifying(installation: Installation, hosts: Hosts, victim: str) -> None:
    service, target = shop(installation, hosts[0][1])
    service.release(target, "1")
    shown = service.preview(target, "slow", variables={"tag": "2"})
    service.start(shown)
    until_step(service, shown, "health")
    installation.kill(victim)
    assert assert_ended_once(installation, service, shown["release_id"]) == "applied"
    again = service.preview(target, "slow", variables={"tag": "2"})
    assert {row["action"] for row in _rows(again)} == {"none"}


@each_victim
def test_paused(installation: Installation, hosts: Hosts, victim: str) -> None:
    service, target = shop(installation, hosts[0][1], hosts[1][1])
    service.release(target, "1")
    shown = service.preview(target, "1", variables={"tag": "2"}, **HALF)
    service.start(shown)
    service.when(shown["release_id"], lambda release: release["status"] == "paused")
    installation.kill(victim)
    time.sleep(1)
    assert service.when(shown["release_id"], lambda release: True)["status"] == "paused"
    installation.site.admin.post(f"/deploy/releases/{shown['release_id']}/promote")
    assert assert_ended_once(installation, service, shown["release_id"]) == "applied"


@each_victim
def test_being_cancelled(installation: Installation, hosts: Hosts, victim: str) -> None:
    service, target = shop(installation, hosts[0][1])
    shown = service.preview(target, "slow")
    service.start(shown)
    until_step(service, shown, "project_up")
    installation.site.admin.post(f"/deploy/releases/{shown['release_id']}/cancel")
    installation.kill(victim)
    end = assert_ended_once(installation, service, shown["release_id"])
    release = service.ended(shown["release_id"])
    assert (end, release["diagnostics_json"]["failure_domain"]) == ("failed", "cancelled")
    assert service.release(target, "1")["lifecycle_state"] == "applied"


@each_victim
def test_a_rollback_while_it_is_applied(installation: Installation, hosts: Hosts, victim: str) -> None:
    service, target = shop(installation, hosts[0][1])
    service.release(target, "slow")
    undone = service.release(target, "slow", variables={"tag": "2"})
    path = f"/deploy/releases/{undone['release_id']}/rollback"
    shown = installation.site.admin.post(f"{path}/preview", {})
    installation.site.admin.post(path, {"preview_ref": shown["preview_ref"]})
    until_step(service, shown, "project_up")
    installation.kill(victim)
    assert assert_ended_once(installation, service, shown["release_id"]) == "applied"
    assert service.ended(undone["release_id"])["lifecycle_state"] == "rollback"


def _timeline(installation: Installation, release: dict[str, Any]) -> list[dict[str, Any]]:
    path = f"/deploy/releases/{release['release_id']}/timeline"
    events: list[dict[str, Any]] = installation.site.admin.get(path, limit=500)["items"]
    return events


def _rows(preview: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for host in preview["preview"]["hosts"].values() for row in host["services"]]
