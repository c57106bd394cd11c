# SPDX-License-Identifier: Apache-2.0
"""Killed with -9 while a canary with real pods is watched, waits, is promoted or taken back: it ends once, clean."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.runtimes import Application, OnCluster
from tests.crash.installation import KILLED, Installation, assert_ended_once, wait_for
from tests.lab.kube_cluster import KubeCluster
from tests.lab.lab import Lab

pytestmark = [
    pytest.mark.lab,
    pytest.mark.kubernetes,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("lab-crash"),
]
each_victim = pytest.mark.parametrize("victim", KILLED)


@pytest.fixture(scope="package")
def on_cluster(installation: Installation, kube_cluster: KubeCluster, lab: Lab) -> OnCluster:
    return OnCluster(installation.site, kube_cluster, lab)


class Canary:
    """An application of which version 1 has everything, and a canary of version 2 that is on its way."""

    def __init__(self, installation: Installation, on: OnCluster, pause_seconds: int | None) -> None:
        self.installation, self.on = installation, on
        self.its: Application = on.application()
        self.its.add("1", "web", tags=["1", "2"])
        assert self.its.release("1", "1")["lifecycle_state"] == "applied"
        params = {"workload": f"{self.its.service.name}-web", "steps": [50], "pause_seconds": pause_seconds}
        shown = self.its.preview("1", "2", strategy="canary", strategy_params=params)
        self.release_id = str(shown["release_id"])
        self.its.service.start(shown)
        self.until("paused")

    def until(self, status: str) -> dict[str, Any]:
        return self.its.service.when(self.release_id, lambda release: release["status"] == status)

    def ask(self, verb: str) -> None:
        self.installation.site.admin.post(f"/deploy/releases/{self.release_id}/{verb}")

    def told(self) -> list[str]:
        release = self.installation.site.admin.get(f"/deploy/releases/{self.release_id}")
        return self.its.service.told(release)

    def resumed(self) -> None:
        wait_for(lambda: "resumed" in self.told(), 60)

    def assert_ended(self, end: str, tag: str) -> None:
        """It came to this end, once; this tag has everything, and the canary is no more."""
        assert assert_ended_once(self.installation, self.its.service, self.release_id) == end
        assert set(self.its.running()) == {"web"}
        assert self.its.answer() == f"shop {tag}"

    def assert_next_works(self) -> None:
        assert self.its.release("1", "2")["lifecycle_state"] == "applied"
        assert self.its.answer() == "shop 2"


@each_victim
def test_a_canary_that_is_watched_is_watched_again_and_can_be_promoted(
    installation: Installation, on_cluster: OnCluster, victim: str
) -> None:
    canary = Canary(installation, on_cluster, pause_seconds=600)
    pods = canary.its.running()["web-canary"]
    installation.kill(victim)
    canary.resumed()
    canary.until("paused")
    assert canary.its.running()["web-canary"] == pods
    canary.ask("promote")
    canary.assert_ended("applied", "2")


def test_a_canary_that_is_watched_gets_everything_by_itself_after_a_kill(
    installation: Installation, on_cluster: OnCluster
) -> None:
    canary = Canary(installation, on_cluster, pause_seconds=8)
    installation.kill("worker")
    canary.assert_ended("applied", "2")
    assert "resumed" in canary.told()


@each_victim
def test_a_canary_that_waits_for_people_waits_on(
    installation: Installation, on_cluster: OnCluster, victim: str
) -> None:
    canary = Canary(installation, on_cluster, pause_seconds=None)
    installation.kill(victim)
    assert canary.until("paused")
    assert set(canary.its.running()) == {"web", "web-canary"}
    canary.ask("abort")
    canary.assert_ended("failed", "1")
    canary.assert_next_works()


@each_victim
def test_a_canary_that_is_being_promoted_gets_everything(
    installation: Installation, on_cluster: OnCluster, victim: str
) -> None:
    canary = Canary(installation, on_cluster, pause_seconds=None)
    before = canary.its.running()["web"]
    canary.ask("promote")
    # What had everything is being changed: there is no way back but a rollback, and none of it is done.
    wait_for(lambda: canary.its.running()["web"] != before, 60)
    installation.kill(victim)
    canary.assert_ended("applied", "2")
    back = canary.its.service.rollback(installation.site.admin.get(f"/deploy/releases/{canary.release_id}"))
    assert back["lifecycle_state"] == "applied", back["diagnostics_json"]
    assert canary.its.answer() == "shop 1"


@each_victim
@pytest.mark.parametrize("verb", ["promote", "abort"])
def test_a_decision_that_was_just_taken_is_not_lost(
    installation: Installation, on_cluster: OnCluster, verb: str, victim: str
) -> None:
    canary = Canary(installation, on_cluster, pause_seconds=None)
    canary.ask(verb)
    installation.kill(victim)
    canary.assert_ended(*{"promote": ("applied", "2"), "abort": ("failed", "1")}[verb])


@each_victim
@pytest.mark.parametrize("verb", ["promote", "abort", "cancel"])
def test_a_decision_about_a_canary_that_is_watched_is_not_lost(
    installation: Installation, on_cluster: OnCluster, verb: str, victim: str
) -> None:
    canary = Canary(installation, on_cluster, pause_seconds=600)
    canary.ask(verb)
    installation.kill(victim)
    canary.assert_ended(*{"promote": ("applied", "2")}.get(verb, ("failed", "1")))
