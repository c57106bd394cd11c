# SPDX-License-Identifier: Apache-2.0
"""Whatever meets whatever: nobody waits in a circle, no answer is a database's error, and the life stays legal.

Each statement is slowed by a random moment, so that transactions which lock in crossing orders do meet.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from sqlalchemy import event

from controlplane.domain.permission import system_actor
from controlplane.ports.runner import RunOutcome
from controlplane.services import approvals, audit, canary_watch, expiry, jobs, releases, timeline
from controlplane.services.job_kinds import KINDS
from controlplane.services.jobs import LeaseLost
from tests.services.installation import Installation, an_event
from tests.services.test_canary_watch import UNWELL, begun, ended, waiting
from tests.services.test_races import at_once
from tests.services.test_releases import previewed

ROUNDS = 5
LONGEST = 0.004
STEP = {"changed": True, "steps": [{"step": "project_up", "status": "succeeded"}]}
# What whoever comes second is told.
REFUSALS = {"release_state_invalid", "ticket_decided", "conflict"}


@pytest.fixture(autouse=True)
def slowed(shop: Installation) -> Iterator[None]:
    """Let every statement wait a moment before it is sent."""
    dice = random.Random(7)

    def wait(*_args: Any) -> None:
        time.sleep(dice.random() * LONGEST)

    event.listen(shop.core.database.engine, "before_cursor_execute", wait)
    yield
    event.remove(shop.core.database.engine, "before_cursor_execute", wait)


def outcome_of(shop: Installation, release_id: str) -> str:
    """Return the state of a release, which must be reached without a database's error or a broken chain."""
    assert audit.verify(shop.core, system_actor("scheduler"))["is_intact"]
    return str(releases.get(shop.core, shop.releaser, release_id)["lifecycle_state"])


def assert_told(answers: list[Any]) -> None:
    """See that each call was answered, or refused by a key."""
    for answer in answers:
        assert not isinstance(answer, Exception) or isinstance(answer, LeaseLost), answers
        assert not isinstance(answer, str) or answer in REFUSALS, answers


def running(shop: Installation, stage: str = "development") -> tuple[str, Any]:
    """Return a release that is being applied, and the job of its worker."""
    shop.leave_looks()
    release = previewed(shop, stage)
    releases.apply(shop.core, shop.releaser, release["preview_ref"], {})
    lease = shop.claim()
    assert lease is not None
    kind = KINDS[lease.kind](shop.core, lease)
    assert kind.begin() is not None
    return release["release_id"], kind


def waiting_for_approval(shop: Installation) -> tuple[str, str]:
    """Return a release to production and its ticket."""
    shop.leave_looks()
    release = previewed(shop, "production")
    answer = releases.apply(shop.core, shop.releaser, release["preview_ref"], {})
    return release["release_id"], answer["approval_ticket"]


def test_cancel_against_approval(shop: Installation) -> None:
    for _round in range(ROUNDS):
        release_id, ticket = waiting_for_approval(shop)
        answers = at_once(
            partial(approvals.approve, shop.core, shop.approver, ticket),
            partial(releases.cancel, shop.core, shop.releaser, release_id),
            partial(approvals.assign, shop.core, shop.approver, ticket, "usr_nobody"),
        )[:2]
        assert_told(answers)
        # An approval that came first is cancelled after it; one that came second is refused.
        assert outcome_of(shop, release_id) == "cancelled"
        assert shop.claim() is None


def test_cancel_against_rejection_and_expiry(shop: Installation) -> None:
    for _round in range(ROUNDS):
        release_id, ticket = waiting_for_approval(shop)
        shop.clock.pass_(minutes=29, seconds=59)
        late = partial(_after, shop, 2, lambda: approvals.expire_due(shop.core))
        answers = at_once(
            partial(approvals.reject, shop.core, shop.approver, ticket, "no"),
            partial(releases.cancel, shop.core, shop.releaser, release_id),
            late,
        )
        told = [answer for answer in answers if answer != "ticket_expired"]
        assert_told(told)
        assert outcome_of(shop, release_id) in ("rejected", "cancelled", "expired")


def _after(shop: Installation, seconds: int, call: Callable[[], Any]) -> Any:
    shop.clock.pass_(seconds=seconds)
    return call()


@pytest.mark.parametrize("status", ["successful", "failed"])
def test_cancel_against_the_end_of_a_run(shop: Installation, status: str) -> None:
    for _round in range(ROUNDS):
        release_id, kind = running(shop)
        kind.record([an_event(1, data=STEP, changed=True)])
        answers = at_once(
            partial(kind.end, RunOutcome(status, 0 if status == "successful" else 2, {})),
            partial(releases.cancel, shop.core, shop.releaser, release_id),
        )
        assert_told(answers)
        assert answers[0] is None
        assert outcome_of(shop, release_id) == ("applied" if status == "successful" else "failed")


def test_cancel_against_what_a_run_records(shop: Installation) -> None:
    for _round in range(ROUNDS):
        release_id, kind = running(shop)
        answers = at_once(
            partial(kind.record, [an_event(1, data=STEP, changed=True)]),
            partial(releases.cancel, shop.core, shop.releaser, release_id),
        )
        assert_told(answers)
        following = kind.end(RunOutcome("canceled", 1, {}))
        kind.end(
            RunOutcome("successful", 0, {f"{host.name}.cancel": {"ended": True} for host in following.hosts})
        )
        assert outcome_of(shop, release_id) == "failed"


def test_cancel_against_promotion_of_what_pauses(shop: Installation) -> None:
    for _round in range(ROUNDS):
        release_id, kind = running(shop)
        kind.record([an_event(1, data={**STEP, "paused": True}, changed=True)])
        answers = at_once(
            partial(kind.end, RunOutcome("successful", 0, {})),
            partial(releases.cancel, shop.core, shop.releaser, release_id),
            partial(releases.promote, shop.core, shop.releaser, release_id),
        )
        assert_told(answers)
        lease = shop.claim()
        if lease is not None:
            again = KINDS[lease.kind](shop.core, lease)
            assert again.begin() is not None
            again.end(RunOutcome("failed", 2, {}))
        else:
            releases.cancel(shop.core, shop.releaser, release_id)
            shop.work_apply()
        assert outcome_of(shop, release_id) == "failed"


def test_cancel_against_a_worker_that_finds_it_waiting_for_its_turn(shop: Installation) -> None:
    for _round in range(ROUNDS):
        first, kind = running(shop)
        # To another target of the host that somebody works on.
        release = previewed(shop, "staging")
        releases.apply(shop.core, shop.releaser, release["preview_ref"], {})
        answers = at_once(
            shop.claim,
            partial(releases.cancel, shop.core, shop.releaser, release["release_id"]),
            partial(kind.record, [an_event(1, data=STEP, changed=True)]),
            shop.claim,
        )
        assert_told(answers)
        assert answers[0] is None and answers[3] is None
        assert outcome_of(shop, release["release_id"]) == "cancelled"
        kind.end(RunOutcome("failed", 2, {}))
        assert outcome_of(shop, first) == "failed"


def test_a_success_against_the_approval_of_what_it_makes_stale(shop: Installation) -> None:
    for _round in range(ROUNDS):
        other, ticket = waiting_for_approval(shop)
        winner, winners_ticket = waiting_for_approval(shop)
        approvals.approve(shop.core, shop.approver, winners_ticket)
        lease = shop.claim()
        assert lease is not None
        kind = KINDS[lease.kind](shop.core, lease)
        kind.begin()
        kind.record([an_event(1, data=STEP, changed=True)])
        answers = at_once(
            partial(kind.end, RunOutcome("successful", 0, {})),
            partial(approvals.approve, shop.core, shop.approver, ticket),
            partial(releases.cancel, shop.core, shop.releaser, other),
        )
        assert_told(answers)
        assert outcome_of(shop, winner) == "applied"
        assert outcome_of(shop, other) in ("expired", "cancelled")


def test_the_scheduler_against_a_worker_that_comes_back(shop: Installation) -> None:
    for _round in range(ROUNDS):
        release_id, kind = running(shop)
        for _attempt in range(jobs.MAX_ATTEMPTS - 1):
            shop.clock.pass_(seconds=3600)
            lease = shop.claim()
            assert lease is not None
            kind = KINDS[lease.kind](shop.core, lease)
            kind.begin()
        shop.clock.pass_(seconds=3600)
        answers = at_once(
            partial(kind.record, [an_event(1, data=STEP, changed=True)]),
            partial(expiry.end_abandoned, shop.core),
            partial(releases.cancel, shop.core, shop.releaser, release_id),
            partial(kind.end, RunOutcome("failed", 2, {})),
        )
        assert_told(answers)
        assert outcome_of(shop, release_id) == "failed"


@pytest.mark.parametrize("decide", [releases.promote, releases.abort, releases.cancel])
def test_a_look_that_finds_a_canary_ill_meets_who_decides_on_it(shop: Installation, decide: Any) -> None:
    for _round in range(ROUNDS):
        release_id = waiting(shop)["release_id"]
        shop.clock.pass_(seconds=60)
        canary_watch.look_where_due(shop.core)
        kind, _run = begun(shop)
        answers = at_once(partial(decide, shop.core, shop.releaser, release_id), partial(ended, kind, UNWELL))
        assert_told(answers)
        told = timeline.of_release(shop.core, shop.releaser, release_id)["items"]
        by_gate = [one for one in told if one["detail"].get("by") == "gate"]
        has_decided = isinstance(answers[0], dict)
        # Whoever came first is who decided; a cancel may follow the gate, which takes it back already.
        assert len(by_gate) == (0 if has_decided else 1) or decide is releases.cancel
        shop.work_apply(data={"changed": True, "steps": []})
        assert outcome_of(shop, release_id) in ("applied", "failed")
        is_promoted = decide is releases.promote and has_decided
        assert (outcome_of(shop, release_id) == "applied") == is_promoted
