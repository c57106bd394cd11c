# SPDX-License-Identifier: Apache-2.0
"""The life of a release, as the services tell it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from controlplane.domain.errors import Problem
from controlplane.ports.runner import RunOutcome
from controlplane.services import approvals, audit, expiry, jobs, previews, releases, timeline
from controlplane.services.job_kinds import KINDS
from controlplane.store.pages import PageRequest
from controlplane.store.tables import Job, Release
from tests.services.installation import Installation, an_event


def refused(error_key: str) -> Any:
    return pytest.raises(Problem, match=error_key)


def previewed(
    shop: Installation, stage: str = "development", version: str = "1", **asked: Any
) -> dict[str, Any]:
    asked = {"target_id": shop.targets[stage], "service": "shop", "version": version, **asked}
    release = previews.request(shop.core, shop.releaser, asked)
    shop.work_preview()
    return previews.wait(shop.core, shop.releaser, release["release_id"], 0)


def applied(shop: Installation, stage: str = "development", version: str = "1") -> dict[str, Any]:
    release = previewed(shop, stage, version)
    waiting = releases.apply(shop.core, shop.releaser, release["preview_ref"], {})
    if waiting["approval_ticket"]:
        approvals.approve(shop.core, shop.approver, waiting["approval_ticket"], "fine")
    shop.clock.pass_(seconds=1)
    shop.work_apply()
    shop.clock.pass_(seconds=1)
    return releases.get(shop.core, shop.releaser, release["release_id"])


def actions(shop: Installation, release: dict[str, Any]) -> list[str]:
    page = timeline.of_release(shop.core, shop.releaser, release["release_id"])
    return [event["action"].removeprefix("release.") for event in page["items"]]


def test_development_needs_nobody(shop: Installation) -> None:
    release = applied(shop)
    assert release["lifecycle_state"] == "applied"
    assert actions(shop, release) == [
        "previewed", "apply_requested", "approved", "applying", "step_succeeded", "applied",
    ]  # fmt: skip


def test_production_waits_for_somebody_else(shop: Installation) -> None:
    release = previewed(shop, "production")
    waiting = releases.apply(shop.core, shop.releaser, release["preview_ref"], {})
    assert (waiting["lifecycle_state"], waiting["approval_required"]) == ("pending_approval", True)
    assert shop.claim() is None
    with refused("self_approval_denied"):
        approvals.approve(shop.core, shop.releaser, waiting["approval_ticket"])
    approvals.approve(shop.core, shop.approver, waiting["approval_ticket"])
    shop.work_apply()
    assert releases.get(shop.core, shop.releaser, release["release_id"])["lifecycle_state"] == "applied"


def test_a_rejection_needs_a_reason_and_ends_it(shop: Installation) -> None:
    release = previewed(shop, "production")
    ticket = releases.apply(shop.core, shop.releaser, release["preview_ref"], {})["approval_ticket"]
    with refused("validation_error"):
        approvals.reject(shop.core, shop.approver, ticket, " ")
    approvals.reject(shop.core, shop.approver, ticket, "not on a Friday")
    assert releases.get(shop.core, shop.releaser, release["release_id"])["lifecycle_state"] == "rejected"
    assert shop.claim() is None


def test_a_preview_is_applied_once(shop: Installation) -> None:
    release = previewed(shop)
    releases.apply(shop.core, shop.releaser, release["preview_ref"], {})
    with refused("preview_used"):
        releases.apply(shop.core, shop.releaser, release["preview_ref"], {})


def test_nothing_is_applied_without_a_preview(shop: Installation) -> None:
    for preview_ref in (None, "", "pvw_unknown"):
        with refused("preview_required"):
            releases.apply(shop.core, shop.releaser, preview_ref, {})


def test_an_old_preview_is_refused_and_ends(shop: Installation) -> None:
    release = previewed(shop)
    shop.clock.pass_(minutes=30)
    with refused("preview_expired"):
        releases.apply(shop.core, shop.releaser, release["preview_ref"], {})
    assert expiry.expire_previews(shop.core) == 1
    assert releases.get(shop.core, shop.releaser, release["release_id"])["lifecycle_state"] == "expired"
    with refused("preview_expired"):
        releases.apply(shop.core, shop.releaser, release["preview_ref"], {})


@pytest.mark.parametrize(
    "repeated", [{"version": "2"}, {"strategy": "canary"}, {"variables": {"x": 1}}, {"target_id": "tgt_production"},
                 {"service": "other"}, {"strategy_params": {"max_parallel": 2}}],
)  # fmt: skip
def test_a_parameter_that_differs_from_the_preview_is_named(
    shop: Installation, repeated: dict[str, Any]
) -> None:
    release = previewed(shop)
    with refused("preview_mismatch") as problem:
        releases.apply(shop.core, shop.releaser, release["preview_ref"], repeated)
    assert list(problem.value.errors) == list(repeated)
    same = {
        "version": "1",
        "service": "shop",
        "target_id": "tgt_development",
        "strategy": "rolling",
        "variables": {},
    }
    assert (
        releases.apply(shop.core, shop.releaser, release["preview_ref"], same)["lifecycle_state"]
        == "approved"
    )


def test_a_release_in_between_makes_a_preview_stale(shop: Installation) -> None:
    early = previewed(shop, version="2")
    shop.clock.pass_(seconds=1)
    applied(shop, version="1")
    with refused("preview_stale"):
        releases.apply(shop.core, shop.releaser, early["preview_ref"], {})


def test_a_ticket_goes_with_the_preview_that_went_stale(shop: Installation) -> None:
    slow = previewed(shop, "production", "2")
    ticket = releases.apply(shop.core, shop.releaser, slow["preview_ref"], {})["approval_ticket"]
    shop.clock.pass_(seconds=1)
    applied(shop, "production", "1")
    assert releases.get(shop.core, shop.releaser, slow["release_id"])["lifecycle_state"] == "expired"
    assert approvals.get(shop.core, shop.approver, ticket)["status"] == "cancelled"
    with refused("ticket_decided"):
        approvals.approve(shop.core, shop.approver, ticket)


def test_a_host_that_moved_ends_the_release_untouched(shop: Installation) -> None:
    release = previewed(shop)
    releases.apply(shop.core, shop.releaser, release["preview_ref"], {})
    moved = {"error_key": "preview_stale", "changed": False, "detail": {"moved": ["web.image"]}}
    shop.work_apply("failed", moved)
    ended = releases.get(shop.core, shop.releaser, release["release_id"])
    assert ended["lifecycle_state"] == "expired"
    assert ended["diagnostics_json"]["error_key"] == "preview_stale"
    assert "a: web.image" in ended["diagnostics_json"]["summary"]


def test_a_failure_says_why(shop: Installation) -> None:
    release = previewed(shop)
    releases.apply(shop.core, shop.releaser, release["preview_ref"], {})
    told = {
        "error_key": "compose_unhealthy", "failure_domain": "health", "changed": True,
        "steps": [{"step": "health", "status": "failed", "exit_code": 1}],
        "diagnostics": {"summary": "web is unhealthy", "stage": "health", "objects": [{"service": "web"}]},
    }  # fmt: skip
    shop.work_apply("failed", told)
    ended = releases.get(shop.core, shop.releaser, release["release_id"])
    assert ended["lifecycle_state"] == "failed"
    assert ended["diagnostics_json"]["failure_domain"] == "health"
    assert actions(shop, release)[-2:] == ["step_failed", "failed"]


def test_blocking_checks_keep_a_preview_from_its_ref(shop: Installation) -> None:
    asked = {"target_id": shop.targets["development"], "service": "shop"}
    release = previews.request(shop.core, shop.releaser, asked)
    shop.work_preview(
        checks=[{"level": "blocking", "code": "image_missing", "message": "no image", "host": "a"}]
    )
    shown = previews.wait(shop.core, shop.releaser, release["release_id"], 0)
    assert (shown["status"], shown["preview_ref"]) == ("preview_failed", None)
    assert [check["code"] for check in shown["preview"]["checks"]] == ["image_missing"]


def test_a_rollback_is_a_release_with_its_own_gate(shop: Installation) -> None:
    first = applied(shop, "production", "1")
    second = applied(shop, "production", "2")
    rollback = previews.request_rollback(shop.core, shop.releaser, second["release_id"])
    assert (rollback["rollback_of"], rollback["restores"]) == (second["release_id"], first["release_id"])
    shop.work_preview()
    ref = previews.wait(shop.core, shop.releaser, rollback["release_id"], 0)["preview_ref"]
    waiting = releases.rollback(shop.core, shop.releaser, second["release_id"], ref)
    assert waiting["lifecycle_state"] == "pending_approval"
    approvals.approve(shop.core, shop.approver, waiting["approval_ticket"])
    shop.work_apply()
    undone = releases.get(shop.core, shop.releaser, second["release_id"])
    assert (undone["lifecycle_state"], undone["rolled_back_by"]) == ("rollback", rollback["release_id"])
    assert "rollback_completed" in actions(shop, undone)
    assert "rollback_completed" in actions(shop, rollback)


def test_a_rollback_can_be_rolled_back(shop: Installation) -> None:
    applied(shop, version="1")
    second = applied(shop, version="2")
    rollback = previews.request_rollback(shop.core, shop.releaser, second["release_id"])
    shop.work_preview()
    ref = previews.wait(shop.core, shop.releaser, rollback["release_id"], 0)["preview_ref"]
    releases.rollback(shop.core, shop.releaser, second["release_id"], ref)
    shop.clock.pass_(seconds=1)
    shop.work_apply()
    again = previews.request_rollback(shop.core, shop.releaser, rollback["release_id"])
    assert again["restores"] == second["release_id"]


def test_the_preview_of_a_rollback_does_not_serve_as_an_apply(shop: Installation) -> None:
    applied(shop, version="1")
    second = applied(shop, version="2")
    rollback = previews.request_rollback(shop.core, shop.releaser, second["release_id"])
    shop.work_preview()
    ref = previews.wait(shop.core, shop.releaser, rollback["release_id"], 0)["preview_ref"]
    with refused("preview_mismatch"):
        releases.apply(shop.core, shop.releaser, ref, {})


def test_the_first_release_has_nothing_to_go_back_to(shop: Installation) -> None:
    only = applied(shop)
    with refused("not_found"):
        previews.request_rollback(shop.core, shop.releaser, only["release_id"])


def test_taken_back_before_it_began(shop: Installation) -> None:
    release = previewed(shop, "production")
    ticket = releases.apply(shop.core, shop.releaser, release["preview_ref"], {})["approval_ticket"]
    assert releases.cancel(shop.core, shop.releaser, release["release_id"])["lifecycle_state"] == "cancelled"
    assert approvals.get(shop.core, shop.approver, ticket)["status"] == "cancelled"


def test_taken_back_while_it_runs_the_remote_work_is_ended(shop: Installation) -> None:
    release = previewed(shop)
    releases.apply(shop.core, shop.releaser, release["preview_ref"], {})
    shop.work_apply("canceled", {"changed": True, "steps": []})
    ended = releases.get(shop.core, shop.releaser, release["release_id"])
    assert ended["lifecycle_state"] == "failed"
    assert ended["diagnostics_json"]["failure_domain"] == "cancelled"
    assert "every host has ended" in ended["diagnostics_json"]["summary"]


def test_two_on_one_host_take_turns_visibly(shop: Installation) -> None:
    first, second = previewed(shop, "development"), previewed(shop, "staging")
    for release in (first, second):
        releases.apply(shop.core, shop.releaser, release["preview_ref"], {})
    lease = shop.claim()
    assert lease is not None
    assert shop.claim() is None
    waiting = releases.get(shop.core, shop.releaser, second["release_id"])
    assert waiting["status"] == "waiting_lock"
    assert waiting["jobs"][-1]["waiting_for"] == lease.job_id
    assert actions(shop, second)[-1] == "waiting_lock"


def test_a_paused_release_goes_on_or_back_at_a_word(shop: Installation) -> None:
    release = previewed(shop)
    releases.apply(shop.core, shop.releaser, release["preview_ref"], {})
    shop.work_apply("successful", {"paused": True, "changed": True, "steps": []})
    assert releases.get(shop.core, shop.releaser, release["release_id"])["status"] == "paused"
    assert shop.claim() is None
    releases.promote(shop.core, shop.releaser, release["release_id"])
    with refused("release_state_invalid"):
        releases.abort(shop.core, shop.releaser, release["release_id"])
    shop.work_apply()
    assert releases.get(shop.core, shop.releaser, release["release_id"])["lifecycle_state"] == "applied"


def test_a_paused_release_that_is_cancelled_is_taken_back_to_the_end(shop: Installation) -> None:
    release = previewed(shop)
    releases.apply(shop.core, shop.releaser, release["preview_ref"], {})
    shop.work_apply("successful", {"paused": True, "changed": True, "steps": []})
    releases.cancel(shop.core, shop.releaser, release["release_id"])
    taking_back = shop.claim()
    assert taking_back is not None
    with shop.core.database.read() as session:
        job = session.get_one(Job, taking_back.job_id)
        assert (job.params["verb"], job.cancel_requested_at) == ("abort", None)


def test_a_lost_worker_writes_nothing_more(shop: Installation) -> None:
    from controlplane.services.apply_job import ApplyJob
    from tests.services.installation import an_event

    release = previewed(shop)
    releases.apply(shop.core, shop.releaser, release["preview_ref"], {})
    lost = shop.claim()
    assert lost is not None
    kind = ApplyJob(shop.core, lost)
    kind.begin()
    shop.clock.pass_(seconds=60)
    shop.work_apply()
    with pytest.raises(jobs.LeaseLost):
        kind.record([an_event(1, data={"steps": []})])
    assert actions(shop, release).count("applied") == 1
    assert "resumed" in actions(shop, release)


def test_a_job_whose_workers_are_lost_again_and_again_ends_as_lost(shop: Installation) -> None:
    release = previewed(shop)
    releases.apply(shop.core, shop.releaser, release["preview_ref"], {})
    for _attempt in range(jobs.MAX_ATTEMPTS):
        assert shop.claim() is not None
        shop.clock.pass_(seconds=60)
    assert shop.claim() is None
    assert expiry.end_abandoned(shop.core) == 1
    ended = releases.get(shop.core, shop.releaser, release["release_id"])
    assert (ended["lifecycle_state"], ended["diagnostics_json"]["failure_domain"]) == ("failed", "lost")


def test_another_project_does_not_exist(shop: Installation) -> None:
    release = previewed(shop)
    stranger = shop.actor("stranger", "admin", project="other")
    with refused("release_not_found"):
        releases.get(shop.core, stranger, release["release_id"])
    with refused("preview_required"):
        releases.apply(shop.core, stranger, release["preview_ref"], {})
    assert releases.list_(shop.core, stranger, {}, PageRequest())["items"] == []


def test_a_refused_apply_is_an_event_and_changes_nothing(shop: Installation) -> None:
    release = previewed(shop)
    viewer = shop.actor("viewer", "viewer")
    with refused("permission_denied"):
        releases.apply(shop.core, viewer, release["preview_ref"], {})
    newest = timeline.of_all(shop.core, shop.releaser, {"action": "access.denied"})["items"][-1]
    assert (newest["actor_id"], newest["detail"]["permission"]) == ("usr_viewer", "deploy:release:apply")
    assert releases.get(shop.core, shop.releaser, release["release_id"])["status"] == "previewed"


def test_older_words_filter_too(shop: Installation) -> None:
    release = applied(shop)
    for word in ("applied", "succeeded"):
        page = releases.list_(shop.core, shop.releaser, {"lifecycle_state": word}, PageRequest())
        assert [row["release_id"] for row in page["items"]] == [release["release_id"]]


def test_the_chain_holds_over_a_life_and_shows_a_change(shop: Installation) -> None:
    from controlplane.domain.permission import system_actor
    from controlplane.store.tables import Event

    applied(shop)
    auditor = system_actor("scheduler")
    whole = audit.verify(shop.core, auditor)
    assert whole["is_intact"]
    assert len(list(audit.export(shop.core, auditor))) == whole["events"]
    with shop.core.database.write() as session:
        session.get_one(Event, 3).actor_id = "somebody-else"
    assert audit.verify(shop.core, auditor)["first_break"] == 3


def test_a_fencing_token_is_newer_than_all_before_whichever_job_had_them(shop: Installation) -> None:
    tokens = []
    for _number in range(3):
        previews.request(shop.core, shop.releaser, {"target_id": "tgt_development", "service": "shop"})
        lease = shop.claim()
        assert lease is not None
        tokens.append(lease.token)
    assert tokens == sorted(set(tokens))


def test_a_step_that_is_begun_again_before_it_ended_is_told_as_one(shop: Installation) -> None:
    release = previewed(shop)
    releases.apply(shop.core, shop.releaser, release["preview_ref"], {})
    lease = shop.claim()
    assert lease is not None
    job = KINDS[lease.kind](shop.core, lease)
    job.begin()
    begun = [
        dataclasses.replace(an_event(counter, data={}), kind="runner_on_start", data=None)
        for counter in range(1, 5)
    ]
    ended = an_event(5, data={"steps": [{"step": "project_up", "status": "succeeded"}]})
    # Tried, images sent, tried again; then the same step once more, as for another share of the hosts.
    job.record(begun[:2])
    job.record([begun[2], ended, begun[3]])
    told = [action for action in actions(shop, release) if action.startswith("step_")]
    assert told == ["step_started", "step_succeeded", "step_started"]


def test_a_run_has_the_time_that_its_modules_may_take(shop: Installation) -> None:
    release = previewed(shop)
    releases.apply(shop.core, shop.releaser, release["preview_ref"], {})
    lease = shop.claim()
    assert lease is not None
    run = KINDS[lease.kind](shop.core, lease).begin()
    # One image to pull (30 minutes) and `compose up` (15 minutes) on one host.
    assert run is not None and run.timeout > 45 * 60


def test_a_word_to_end_it_that_comes_as_it_pauses_takes_it_back(shop: Installation) -> None:
    release = previewed(shop)
    releases.apply(shop.core, shop.releaser, release["preview_ref"], {})
    lease = shop.claim()
    assert lease is not None
    job = KINDS[lease.kind](shop.core, lease)
    job.begin()
    job.record([an_event(1, data={"paused": True, "changed": True, "steps": []}, changed=True)])
    releases.cancel(shop.core, shop.releaser, release["release_id"])
    job.end(RunOutcome("successful", 0, {}))
    assert releases.get(shop.core, shop.releaser, release["release_id"])["status"] == "cancelling"
    # Sent again, it does not end what takes the release back.
    releases.cancel(shop.core, shop.releaser, release["release_id"])
    back = shop.claim()
    assert back is not None
    assert not jobs.is_cancel_requested(shop.core, back)
    taking_back = KINDS[back.kind](shop.core, back)
    run = taking_back.begin()
    assert run is not None and run.playbook == "release_abort.yml"
    taking_back.end(RunOutcome("successful", 0, {}))
    ended = releases.get(shop.core, shop.releaser, release["release_id"])
    assert (ended["lifecycle_state"], ended["diagnostics_json"]["failure_domain"]) == ("failed", "cancelled")


@pytest.mark.parametrize(("stored", "asked"), [("succeeded", "applied"), ("rolled_back", "rollback")])
def test_what_others_call_a_state_is_found_by_either_word(
    shop: Installation, stored: str, asked: str
) -> None:
    ours, theirs = (applied(shop)["release_id"] for _ in range(2))
    with shop.core.database.write() as session:
        session.get_one(Release, theirs).state = stored
        session.get_one(Release, ours).state = asked
    for word in (stored, asked):
        page = releases.list_(shop.core, shop.releaser, {"lifecycle_state": word}, PageRequest())
        assert {row["release_id"] for row in page["items"]} == {ours, theirs}
        assert {row["lifecycle_state"] for row in page["items"]} == {asked}


def test_a_release_that_was_brought_in_as_succeeded_can_be_rolled_back(shop: Installation) -> None:
    applied(shop)
    brought = applied(shop, version="2")["release_id"]
    with shop.core.database.write() as session:
        session.get_one(Release, brought).state = "succeeded"
    asked = previews.request_rollback(shop.core, shop.releaser, brought)
    shop.work_preview()
    ready = previews.wait(shop.core, shop.releaser, asked["release_id"], 0)
    releases.rollback(shop.core, shop.releaser, brought, ready["preview_ref"])
    shop.clock.pass_(seconds=1)
    shop.work_apply()
    assert releases.get(shop.core, shop.releaser, brought)["lifecycle_state"] == "rollback"
