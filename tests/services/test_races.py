# SPDX-License-Identifier: Apache-2.0
"""Two at once, on both databases: one wins, the other is told, and nothing happens twice."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from controlplane.domain.errors import Problem
from controlplane.domain.permission import system_actor
from controlplane.services import approvals, audit, jobs, previews, releases, timeline
from controlplane.services.jobs import Lease
from tests.services.installation import Installation
from tests.services.test_releases import previewed

ROUNDS = 5


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Make calls at the same moment and return what each gave: its answer, or the error key that it was refused by."""
    gate = threading.Barrier(len(calls))
    answers: list[Any] = [None] * len(calls)

    def run(number: int, call: Callable[[], Any]) -> None:
        gate.wait()
        try:
            answers[number] = call()
        except Problem as problem:
            answers[number] = problem.error_key
        except Exception as error:
            answers[number] = error

    threads = [threading.Thread(target=run, args=each) for each in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_two_approvers_at_once_one_decides(shop: Installation) -> None:
    for _round in range(ROUNDS):
        release = previewed(shop, "production")
        ticket = releases.apply(shop.core, shop.releaser, release["preview_ref"], {})["approval_ticket"]
        one, two = shop.approver, shop.actor("second-approver", "approver")
        answers = at_once(
            partial(approvals.approve, shop.core, one, ticket),
            partial(approvals.reject, shop.core, two, ticket, "no"),
        )
        assert sorted(type(answer).__name__ for answer in answers) == ["dict", "str"], answers
        assert "ticket_decided" in answers
        state = releases.get(shop.core, shop.releaser, release["release_id"])["lifecycle_state"]
        assert state == ("approved" if isinstance(answers[0], dict) else "rejected")
        lease = shop.claim()
        assert (lease is not None) == (state == "approved")
        if lease is not None:
            releases.cancel(shop.core, shop.releaser, release["release_id"])


def test_a_double_apply_starts_one_job(shop: Installation) -> None:
    for _round in range(ROUNDS):
        release = previewed(shop, "production")
        calls = [partial(releases.apply, shop.core, shop.releaser, release["preview_ref"], {})] * 4
        answers = at_once(*calls)
        assert [type(answer).__name__ for answer in answers].count("dict") == 1, answers
        others = {answer for answer in answers if not isinstance(answer, dict)}
        assert others <= {"preview_used", "release_state_invalid"}, answers
        told = timeline.of_release(shop.core, shop.releaser, release["release_id"])["items"]
        assert [event["action"] for event in told].count("release.apply_requested") == 1


def test_expiry_against_approval_ends_in_one_of_both(shop: Installation) -> None:
    for _round in range(ROUNDS):
        release = previewed(shop, "production")
        ticket = releases.apply(shop.core, shop.releaser, release["preview_ref"], {})["approval_ticket"]
        approver = shop.approver
        shop.clock.pass_(minutes=29, seconds=59)
        late = shop.clock.now()

        def expire(late: Any = late) -> Any:
            shop.clock.time = late + (late - late.replace(second=0)) * 2
            return approvals.expire_due(shop.core)

        answers = at_once(partial(approvals.approve, shop.core, approver, ticket), expire)
        state = releases.get(shop.core, shop.releaser, release["release_id"])["lifecycle_state"]
        assert state in ("approved", "expired"), answers
        assert (answers[1] == 1) == (state == "expired"), answers
        assert isinstance(answers[0], dict) == (state == "approved"), answers
        if state == "approved":
            releases.cancel(shop.core, shop.releaser, release["release_id"])


def test_many_workers_never_share_a_job(shop: Installation) -> None:
    names = [
        previews.request(shop.core, shop.releaser, {"target_id": "tgt_development", "service": "shop"})[
            "release_id"
        ]
        for _number in range(12)
    ]
    taken: list[Lease] = []

    def work() -> None:
        while lease := jobs.claim(shop.core, threading.current_thread().name):
            taken.append(lease)

    assert at_once(*[work] * 4) == [None] * 4
    assert sorted(lease.resource_id for lease in taken) == sorted(names)


def test_a_host_is_never_held_by_two_jobs(shop: Installation) -> None:
    for release in [previewed(shop, stage) for stage in ("development", "staging")]:
        releases.apply(shop.core, shop.releaser, release["preview_ref"], {})
    taken = at_once(*[shop.claim] * 4)
    assert len([lease for lease in taken if lease is not None]) == 1, taken


def test_events_written_at_once_have_no_gap_and_one_chain(shop: Installation) -> None:
    def write(number: int) -> Callable[[], Any]:
        asked = {"target_id": "tgt_development", "service": "shop"}

        def run() -> None:
            for _each in range(5):
                with pytest.raises(Problem):
                    previews.request(shop.core, shop.actor(f"viewer{number}", "viewer"), asked)

        return run

    answers = at_once(*[write(number) for number in range(4)])
    assert answers == [None] * 4
    whole = audit.verify(shop.core, system_actor("scheduler"))
    assert whole == {"is_intact": True, "events": 20, "first_break": None}
