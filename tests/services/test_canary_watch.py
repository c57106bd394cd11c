# SPDX-License-Identifier: Apache-2.0
"""A canary in a cluster that waits for people is looked at by schedule, and taken back when it is not well."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from sqlalchemy import select

from controlplane.domain.errors import Problem
from controlplane.ports.runner import PlaybookRun, RunOutcome
from controlplane.services import canary_watch, jobs, releases, timeline
from controlplane.services.job_kind import JobKind
from controlplane.services.job_kinds import KINDS
from controlplane.services.jobs import LeaseLost
from controlplane.store.tables import Cluster, Job
from tests.services.installation import Installation, an_event, move_into_cluster
from tests.services.test_releases import actions, previewed

CANARY = {"workload": "web", "steps": [10], "pause_seconds": None}
ROW = {"object": "Deployment/web-canary", "conditions": [], "events": [], "pods": []}
UNWELL = {
    "changed": False,
    "steps": [{"step": "canary", "status": "failed", "stderr_tail": "3 restarts, 0 allowed"}],
    "error_key": "rollout_failed",
    "failure_domain": "health",
    "diagnostics": {
        "summary": "the canary Deployment/web-canary is not well: 3 restarts, 0 allowed",
        "stage": "canary",
        "objects": [ROW],
        "hints": ["Read the last words of the container."],
    },
}
UNREACHABLE = {
    "changed": False,
    "error_key": "cluster_unreachable",
    "diagnostics": {"summary": "the cluster cannot be reached: timed out"},
}


def waiting(shop: Installation) -> dict[str, Any]:
    """A canary that waits for a decision."""
    if not _is_in_cluster(shop):
        move_into_cluster(shop)
    release = previewed(shop, strategy="canary", strategy_params=CANARY)
    releases.apply(shop.core, shop.releaser, release["preview_ref"], {})
    shop.work_apply(data={"changed": True, "paused": True, "steps": []})
    return shown(shop, release)


def _is_in_cluster(shop: Installation) -> bool:
    with shop.core.database.read() as session:
        return session.get(Cluster, "cls") is not None


def shown(shop: Installation, release: dict[str, Any]) -> dict[str, Any]:
    return releases.get(shop.core, shop.releaser, release["release_id"])


def begun(shop: Installation) -> tuple[JobKind, PlaybookRun | None]:
    lease = shop.claim()
    assert lease is not None
    assert lease.kind == "canary_watch"
    kind = KINDS[lease.kind](shop.core, lease)
    return kind, kind.begin()


def look(shop: Installation, data: dict[str, Any] | None = None) -> None:
    """Make the look that is due now; `data` is what failed it."""
    assert canary_watch.look_where_due(shop.core) == 1
    kind, run = begun(shop)
    assert run is not None
    ended(kind, data)


def ended(kind: JobKind, data: dict[str, Any] | None) -> None:
    kind.record([an_event(1, data=data or {"changed": False, "paused": True}, failed=data is not None)])
    assert kind.end(RunOutcome("failed" if data else "successful", 2 if data else 0, {})) is None


def test_one_that_is_well_waits_on_and_is_looked_at_once_an_interval(shop: Installation) -> None:
    release = waiting(shop)
    before = actions(shop, release)
    assert canary_watch.look_where_due(shop.core) == 1
    # The next tick, and a second scheduler; and however late it is, one that is not made yet is not asked for again.
    shop.clock.pass_(seconds=300)
    assert canary_watch.look_where_due(shop.core) == 0
    kind, run = begun(shop)
    assert run is not None
    spec = run.documents["release_spec_file"]
    assert isinstance(spec, dict)
    assert (run.playbook, run.group) == ("release_watch.yml", "release_clusters")
    assert (spec["release_id"], spec["strategy"]) == (release["release_id"], "canary")
    ended(kind, None)
    assert shown(shop, release)["status"] == "paused"
    assert actions(shop, release) == before
    for _ in range(3):
        shop.clock.pass_(seconds=60)
        look(shop)
        assert canary_watch.look_where_due(shop.core) == 0
    with shop.core.database.read() as session:
        kept = list(session.scalars(select(Job).where(Job.kind == "canary_watch")))
    assert len(kept) == 2, "this look, and the one before"


def test_one_that_is_not_well_is_taken_back_as_by_its_gate(shop: Installation) -> None:
    release = waiting(shop)
    look(shop, UNWELL)
    assert shown(shop, release)["status"] == "running"
    lease = shop.claim()
    assert lease is not None
    assert lease.kind == "apply"
    kind = KINDS[lease.kind](shop.core, lease)
    run = kind.begin()
    assert run is not None
    assert run.playbook == "release_abort.yml"
    kind.record([an_event(1, data={"changed": True, "steps": [{"step": "pruned", "status": "succeeded"}]})])
    assert kind.end(RunOutcome("successful", 0, {})) is None
    ended_so = shown(shop, release)
    assert (ended_so["lifecycle_state"], ended_so["status"]) == ("failed", "failed")
    found = ended_so["diagnostics_json"]
    assert (found["error_key"], found["failure_domain"]) == ("rollout_failed", "health")
    assert "3 restarts, 0 allowed; it was taken back" in found["summary"]
    assert [one["object"] for one in found["objects"]] == ["Deployment/web-canary"]
    assert found["hints"] == ["Read the last words of the container."]
    told = timeline.of_release(shop.core, shop.releaser, release["release_id"])["items"]
    after = next(one for one in told if one["action"] == "release.paused")["seq"]
    rest = [one for one in told if one["seq"] > after]
    assert [one["action"].removeprefix("release.") for one in rest] == [
        "step_failed", "aborted", "resumed", "step_succeeded", "failed",
    ]  # fmt: skip
    assert rest[0]["detail"]["step"] == "canary"
    assert (rest[1]["detail"]["by"], rest[1]["detail"]["error_key"]) == ("gate", "rollout_failed")
    assert canary_watch.look_where_due(shop.core) == 0


def test_a_worker_that_is_lost_while_it_takes_it_back_does_not_lose_the_reason(shop: Installation) -> None:
    release = waiting(shop)
    look(shop, UNWELL)
    lease = shop.claim()
    assert lease is not None
    KINDS[lease.kind](shop.core, lease).begin()
    shop.clock.pass_(seconds=60)
    shop.work_apply(data={"changed": True, "steps": []})
    assert shown(shop, release)["diagnostics_json"]["error_key"] == "rollout_failed"


@pytest.mark.parametrize("decide", [releases.promote, releases.abort, releases.cancel])
def test_what_somebody_decided_during_the_look_goes_on_as_they_decided(
    shop: Installation, decide: Any
) -> None:
    release = waiting(shop)
    canary_watch.look_where_due(shop.core)
    kind, _run = begun(shop)
    decide(shop.core, shop.releaser, release["release_id"])
    before = actions(shop, release)
    ended(kind, UNWELL)
    assert actions(shop, release) == before
    lease = shop.claim()
    assert lease is not None
    with shop.core.database.read() as session:
        params = session.get_one(Job, lease.job_id).params
    assert params["verb"] == ("promote" if decide is releases.promote else "abort")
    assert "gate" not in params


def test_one_that_was_promoted_during_the_look_and_waits_again_is_not_what_was_looked_at(
    shop: Installation,
) -> None:
    release = waiting(shop)
    canary_watch.look_where_due(shop.core)
    kind, _run = begun(shop)
    releases.promote(shop.core, shop.releaser, release["release_id"])
    shop.work_apply(data={"changed": True, "paused": True, "steps": []})
    before = actions(shop, release)
    ended(kind, UNWELL)
    assert shown(shop, release)["status"] == "paused"
    assert actions(shop, release) == before


def test_a_decision_before_the_look_began_ends_it_without_one(shop: Installation) -> None:
    release = waiting(shop)
    canary_watch.look_where_due(shop.core)
    releases.promote(shop.core, shop.releaser, release["release_id"])
    promoting = shop.claim()
    assert promoting is not None
    kinds = {promoting.kind}
    looking = shop.claim()
    assert looking is not None
    kinds.add(looking.kind)
    assert kinds == {"apply", "canary_watch"}
    lease = looking if looking.kind == "canary_watch" else promoting
    assert KINDS[lease.kind](shop.core, lease).begin() is None
    with shop.core.database.read() as session:
        assert session.get_one(Job, lease.job_id).outcome == "cancelled"


def test_one_that_cannot_be_looked_at_waits_on_and_that_is_told_once(shop: Installation) -> None:
    release = waiting(shop)
    for _ in range(3):
        look(shop, UNREACHABLE)
        shop.clock.pass_(seconds=60)
    assert shown(shop, release)["status"] == "paused"
    assert actions(shop, release).count("watch_failed") == 1
    told = timeline.of_release(shop.core, shop.releaser, release["release_id"])["items"][-1]
    assert (told["status"], told["detail"]["error_key"]) == ("warning", "cluster_unreachable")
    look(shop)
    shop.clock.pass_(seconds=60)
    look(shop, UNREACHABLE)
    assert actions(shop, release).count("watch_failed") == 2
    shop.clock.pass_(seconds=60)
    look(shop, UNWELL)
    assert shown(shop, release)["status"] == "running"


def test_a_look_whose_worker_was_lost_too_often_is_one_in_vain(shop: Installation) -> None:
    release = waiting(shop)
    canary_watch.look_where_due(shop.core)
    kind, _run = begun(shop)
    kind.refuse("worker_lost", "its workers were lost")
    assert actions(shop, release)[-1] == "watch_failed"
    with pytest.raises(LeaseLost):
        kind.end(RunOutcome("successful", 0, {}))


def test_only_what_waits_in_a_cluster_is_looked_at_and_only_where_it_is_wanted(shop: Installation) -> None:
    watched = previewed(shop)
    releases.apply(shop.core, shop.releaser, watched["preview_ref"], {})
    shop.work_apply(data={"changed": True, "paused": True, "steps": []})
    assert shown(shop, watched)["status"] == "paused"
    assert canary_watch.look_where_due(shop.core) == 0, "a host says itself what is not healthy"
    releases.abort(shop.core, shop.releaser, watched["release_id"])
    shop.work_apply()
    waiting(shop)
    settings = dataclasses.replace(shop.core.settings, canary_watch_seconds=0)
    assert canary_watch.look_where_due(dataclasses.replace(shop.core, settings=settings)) == 0
    assert canary_watch.look_where_due(shop.core) == 1


def test_one_that_is_watched_by_its_own_run_is_not_looked_at(shop: Installation) -> None:
    move_into_cluster(shop)
    release = previewed(shop, strategy="canary", strategy_params={**CANARY, "pause_seconds": 600})
    releases.apply(shop.core, shop.releaser, release["preview_ref"], {})
    lease = shop.claim()
    assert lease is not None
    kind = KINDS[lease.kind](shop.core, lease)
    kind.begin()
    said = {
        "schema": "tidegate.progress/v1",
        "object": "canary",
        "progress": "may be promoted",
        "decidable": True,
    }
    kind.record([dataclasses.replace(an_event(1, data=said), kind="runner_item_on_ok")])
    assert shown(shop, release)["status"] == "paused"
    assert canary_watch.look_where_due(shop.core) == 0
    assert jobs.claim(shop.core, "another") is None


def test_a_cluster_that_is_gone_is_told(shop: Installation) -> None:
    release = waiting(shop)
    with shop.core.database.write() as session:
        session.get_one(Cluster, "cls").status = "gone"
    canary_watch.look_where_due(shop.core)
    lease = shop.claim()
    assert lease is not None
    kind = KINDS[lease.kind](shop.core, lease)
    with pytest.raises(Problem) as problem:
        kind.begin()
    kind.refuse(problem.value.error_key, str(problem.value.detail))
    assert actions(shop, release)[-1] == "watch_failed"
