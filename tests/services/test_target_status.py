# SPDX-License-Identifier: Apache-2.0
"""What runs on a target is known as soon as a release to it has ended, whichever way."""

from __future__ import annotations

from typing import Any

import pytest

from controlplane.ports.runner import RunOutcome
from controlplane.services import previews, releases, target_status
from controlplane.services.job_kinds import KINDS
from controlplane.services.release_spec import API
from controlplane.store.tables import Release, Target
from tests.services.installation import Installation
from tests.services.test_installs import work
from tests.services.test_releases import applied, previewed

WEB = {"name": "web", "image": "shop:1", "replicas": 1, "running": 1, "health": "healthy"}


def status(shop: Installation) -> dict[str, Any]:
    return target_status.latest(shop.core, shop.releaser, shop.targets["development"])


def ended(shop: Installation, outcome: RunOutcome, version: str = "1") -> str:
    """Apply a version whose run ends so, and return the release's id."""
    release = previewed(shop, version=version)
    releases.apply(shop.core, shop.releaser, release["preview_ref"], {})
    kind, _run = work(shop, "apply")
    following = kind.end(outcome)
    if following is not None:
        kind.end(RunOutcome("successful", 0, {"a.cancel": {"ended": True}}))
    return str(release["release_id"])


def live(release_id: str, *services: dict[str, Any]) -> dict[str, Any]:
    return {"live": {"release_id": release_id, "services": list(services)}}


def test_an_applied_release_is_there_by_host_and_service_at_once(shop: Installation) -> None:
    begun = {**WEB, "health": "starting"}
    waited = {"a.apply": live("rel_x", begun), "a.verify": live("rel_x", WEB)}
    ended(shop, RunOutcome("successful", 0, waited))
    shown = status(shop)
    assert shown["checked_at"] is not None
    (project,) = shown["hosts"]["a"]["projects"]
    assert (project["service"], project["service_id"], project["release_id"]) == ("shop", "svc", "rel_x")
    assert project["services"] == [WEB]
    assert shop.looks() == []


def test_what_another_service_runs_stays_and_what_was_of_this_one_goes(shop: Installation) -> None:
    ended(shop, RunOutcome("successful", 0, {"a.apply": live("rel_1", WEB)}))
    with shop.core.database.write() as session:
        target = session.get_one(Target, shop.targets["development"])
        known = target.status["hosts"]["a"]
        other = {"project": "other", "service": "other", "services": []}
        target.status = {"hosts": {"a": {**known, "projects": [*known["projects"], other]}}, "drift": []}
    shop.clock.pass_(seconds=1)
    ended(shop, RunOutcome("successful", 0, {"a.apply": live("rel_2", WEB)}), "2")
    projects = status(shop)["hosts"]["a"]["projects"]
    assert sorted(one["service"] for one in projects) == ["other", "shop"]
    assert {one.get("release_id") for one in projects} == {None, "rel_2"}


@pytest.mark.parametrize(
    "outcome",
    [
        RunOutcome("failed", 2, {}),
        RunOutcome("canceled", 254, {}),
        RunOutcome("timeout", 254, {}),
        # A host that failed within the budget told nothing.
        RunOutcome("successful", 0, {}),
    ],
)
def test_where_the_run_does_not_tell_it_is_looked_at(shop: Installation, outcome: RunOutcome) -> None:
    release_id = ended(shop, outcome)
    assert len(shop.looks()) == 1
    kind, run = work(shop, "target_status")
    spec = run.documents["release_spec_file"]
    assert isinstance(spec, dict) and spec["api"] == API
    (project,) = spec["projects"]
    found = {"project": project, "release_id": release_id, "services": [WEB]}
    following = kind.end(
        RunOutcome("successful", 0, {"a.status": {"host": "a", **found, "projects": [found]}})
    )
    if following is not None:
        kind.end(RunOutcome("successful", 0, {"a.preview": {"services": []}}))
    (shown,) = status(shop)["hosts"]["a"]["projects"]
    assert (shown["service"], shown["release_id"], shown["services"]) == ("shop", release_id, [WEB])


def test_a_rollback_tells_what_it_brought_back(shop: Installation) -> None:
    first = applied(shop, version="1")
    second = applied(shop, version="2")
    rollback = previews.request_rollback(shop.core, shop.releaser, second["release_id"])
    shop.work_preview()
    ref = previews.wait(shop.core, shop.releaser, rollback["release_id"], 0)["preview_ref"]
    releases.rollback(shop.core, shop.releaser, second["release_id"], ref)
    shop.clock.pass_(seconds=1)
    shop.work_apply()
    shown = status(shop)
    (project,) = shown["hosts"]["a"]["projects"]
    assert project["release_id"] == rollback["release_id"]
    with shop.core.database.read() as session:
        assert session.get_one(Release, rollback["release_id"]).restores == first["release_id"]


def test_a_look_that_began_before_a_release_ended_does_not_take_its_place(shop: Installation) -> None:
    applied(shop)
    target_status.request(shop.core, shop.releaser, shop.targets["development"])
    lease = shop.claim()
    assert lease is not None
    look = KINDS[lease.kind](shop.core, lease)
    look.begin()
    shop.clock.pass_(seconds=1)
    ended(shop, RunOutcome("successful", 0, {"a.apply": live("rel_2", WEB)}), "2")
    old = {"project": "p", "release_id": "rel_1", "services": []}
    look.end(RunOutcome("successful", 0, {"a.status": {**old, "projects": [old]}}))
    look.end(RunOutcome("successful", 0, {"a.preview": {"services": []}}))
    assert status(shop)["hosts"]["a"]["release_id"] == "rel_2"
