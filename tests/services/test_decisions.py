# SPDX-License-Identifier: Apache-2.0
"""A canary that is watched for a while can be decided before its time: its run ends, and its job goes on so."""

from __future__ import annotations

import dataclasses

import pytest

from controlplane.domain.errors import Problem
from controlplane.ports.runner import RunOutcome
from controlplane.services import jobs, releases
from controlplane.services.apply_job import ApplyJob
from tests.services.installation import Installation, an_event
from tests.services.test_releases import actions, previewed


def working(shop: Installation) -> tuple[str, ApplyJob]:
    """A release whose run has begun."""
    release = previewed(shop)
    releases.apply(shop.core, shop.releaser, release["preview_ref"], {})
    lease = shop.claim()
    assert lease is not None
    job = ApplyJob(shop.core, lease)
    assert job.begin() is not None
    return release["release_id"], job


def tell(job: ApplyJob, counter: int, is_decidable: bool) -> None:
    data = {
        "schema": "tidegate.progress/v1",
        "object": "canary",
        "progress": "...",
        "decidable": is_decidable,
    }
    job.record([dataclasses.replace(an_event(counter, data=data), kind="runner_item_on_ok")])


def status(shop: Installation, release_id: str) -> str:
    return str(releases.get(shop.core, shop.releaser, release_id)["status"])


@pytest.mark.parametrize(("verb", "book", "end"), [
    ("promote", "release_promote.yml", "applied"), ("abort", "release_abort.yml", "failed"),
])  # fmt: skip
def test_a_watched_canary_is_decided_and_its_job_goes_on(
    shop: Installation, verb: str, book: str, end: str
) -> None:
    release_id, job = working(shop)
    decide = getattr(releases, verb)
    with pytest.raises(Problem, match="release_state_invalid"):
        decide(shop.core, shop.releaser, release_id)
    tell(job, 1, True)
    assert status(shop, release_id) == "paused"
    decide(shop.core, shop.releaser, release_id)
    assert jobs.is_cancel_requested(shop.core, job._lease)
    # Once is enough.
    with pytest.raises(Problem, match="release_state_invalid"):
        decide(shop.core, shop.releaser, release_id)
    assert job.end(RunOutcome("canceled", 1, {})) is None
    lease = shop.claim()
    assert lease is not None
    assert lease.job_id == job._lease.job_id
    assert not jobs.is_cancel_requested(shop.core, lease)
    following = ApplyJob(shop.core, lease)
    run = following.begin()
    assert run is not None
    asked = run.documents["release_spec_file"]
    assert (run.playbook, asked["taken_up"], asked["begun_token"]) == (book, False, None)
    following.end(RunOutcome("successful", 0, {}))
    assert releases.get(shop.core, shop.releaser, release_id)["lifecycle_state"] == end


def test_past_its_time_it_is_too_late(shop: Installation) -> None:
    release_id, job = working(shop)
    tell(job, 1, True)
    tell(job, 2, False)
    assert status(shop, release_id) == "verifying"
    with pytest.raises(Problem, match="release_state_invalid"):
        releases.promote(shop.core, shop.releaser, release_id)
    assert actions(shop, {"release_id": release_id}).count("paused") == 1


def test_who_cancels_after_a_promotion_is_the_one_who_is_heard(shop: Installation) -> None:
    release_id, job = working(shop)
    tell(job, 1, True)
    releases.promote(shop.core, shop.releaser, release_id)
    releases.cancel(shop.core, shop.releaser, release_id)
    following = job.end(RunOutcome("canceled", 1, {}))
    assert following is not None
    assert following.playbook == "release_cancel.yml"


def test_a_run_that_takes_a_lost_one_up_is_told_so(shop: Installation) -> None:
    release_id, job = working(shop)
    tell(job, 1, True)
    jobs.release_to_others(shop.core, job._lease)
    lease = shop.claim()
    assert lease is not None
    run = ApplyJob(shop.core, lease).begin()
    assert run is not None
    asked = run.documents["release_spec_file"]
    assert (asked["taken_up"], asked["begun_token"]) == (True, job._lease.token)
    # However often it is lost: what counts is where the first of them began.
    jobs.release_to_others(shop.core, lease)
    again = shop.claim()
    assert again is not None
    run = ApplyJob(shop.core, again).begin()
    assert run is not None
    asked = run.documents["release_spec_file"]
    assert (asked["begun_token"], asked["fencing_token"]) == (job._lease.token, again.token)
    assert status(shop, release_id) == "running"
