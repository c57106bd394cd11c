# SPDX-License-Identifier: Apache-2.0
"""Whatever is done in whatever order, a release's life stays legal, its timeline unbroken and the chain whole."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from controlplane.domain.errors import Problem
from controlplane.domain.permission import system_actor
from controlplane.domain.release import TRANSITIONS, State
from controlplane.services import approvals, audit, expiry, previews, releases, timeline
from controlplane.store.pages import PageRequest
from tests.services import installation

# What a caller may be told; anything else that comes out of a service is a fault of ours.
EXPECTED = {
    "preview_required", "preview_expired", "preview_used", "preview_stale", "preview_mismatch",
    "release_state_invalid", "ticket_decided", "ticket_expired", "ticket_not_found", "self_approval_denied",
    "approval_permission_denied", "not_found",
}  # fmt: skip


class Lifecycle(RuleBasedStateMachine):
    """Two people, three targets on one host, a worker, and time."""

    known = Bundle("known")
    taken = Bundle("taken")

    def __init__(self, url: str | None = None) -> None:
        """Args: url: of an empty database of its own; an SQLite file when left out."""
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        self.shop = installation.make(url or f"sqlite:///{folder}/tidegate.db", folder)
        self.seen: dict[str, list[str]] = {}
        self.applied_refs: set[str] = set()

    def teardown(self) -> None:
        self.shop.core.queue.close()
        self.shop.core.database.engine.dispose()
        self._folder.cleanup()

    def ask(self, call: Any, *arguments: Any, **named: Any) -> Any:
        try:
            return call(self.shop.core, *arguments, **named)
        except Problem as problem:
            assert problem.error_key in EXPECTED, problem
            return None

    @rule(target=known, stage=st.sampled_from(["development", "production"]), version=st.sampled_from("123"))
    def preview(self, stage: str, version: str) -> str:
        asked = {"target_id": self.shop.targets[stage], "service": "shop", "version": version}
        return str(previews.request(self.shop.core, self.shop.releaser, asked)["release_id"])

    @rule(target=known, release=known)
    def preview_rollback(self, release: str) -> Any:
        made = self.ask(previews.request_rollback, self.shop.releaser, release)
        return made["release_id"] if made else multiple()

    @rule(release=known)
    def apply(self, release: str) -> None:
        now = releases.get(self.shop.core, self.shop.releaser, release)
        verb = (releases.apply, now["preview_ref"], {})
        if now["action"] == "rollback":
            verb = (releases.rollback, now["rollback_of"], now["preview_ref"])
        done = self.ask(verb[0], self.shop.releaser, *verb[1:])
        if done:
            assert now["preview_ref"] not in self.applied_refs
            self.applied_refs.add(now["preview_ref"])

    @rule(
        release=known,
        says=st.sampled_from(["approve", "reject"]),
        who=st.sampled_from(["approver", "releaser"]),
    )
    def decide(self, release: str, says: str, who: str) -> None:
        actor = self.shop.actor(who, "approver" if who == "approver" else "admin")
        done = self.ask(approvals.decide_release, actor, release, says, "because")
        assert done is None or who == "approver"

    @rule(release=known)
    def cancel(self, release: str) -> None:
        self.ask(releases.cancel, self.shop.releaser, release)

    @rule(release=known, call=st.sampled_from([releases.promote, releases.abort]))
    def go_on(self, release: str, call: Any) -> None:
        self.ask(call, self.shop.releaser, release)

    @rule(target=taken)
    def take(self) -> Any:
        return self.shop.claim() or multiple()

    @rule(
        lease=consumes(taken),
        ending=st.sampled_from(["successful", "failed", "canceled", "paused", "stale", "lost"]),
    )
    def work(self, lease: Any, ending: str) -> None:
        from controlplane.ports.runner import RunOutcome
        from controlplane.services.job_kinds import KINDS
        from controlplane.services.jobs import LeaseLost

        kind = KINDS[lease.kind](self.shop.core, lease)
        try:
            run = kind.begin()
            if run is None or ending == "lost":
                return
            if lease.kind == "preview":
                kind.end(self.shop.preview_outcome(run))
                return
            data: dict[str, Any] = {
                "changed": ending != "stale",
                "steps": [{"step": "project_up", "status": "x"}],
            }
            if ending == "paused":
                data["paused"] = True
            if ending == "stale":
                data |= {"error_key": "preview_stale", "detail": {"moved": ["web.image"]}}
            failed = ending in ("failed", "stale")
            kind.record([installation.an_event(1, data=data, failed=failed, changed=data["changed"])])
            status = {"paused": "successful", "stale": "failed"}.get(ending, ending)
            following = kind.end(RunOutcome(status, int(failed), {}))
            if following is not None:
                kind.end(RunOutcome("successful", 0, {}))
        except LeaseLost:
            pass

    @rule(seconds=st.sampled_from([1, 20, 1000, 2000]))
    def time_passes(self, seconds: int) -> None:
        self.shop.clock.pass_(seconds=seconds)
        for step in (
            approvals.expire_due,
            approvals.escalate_overdue,
            expiry.expire_previews,
            expiry.end_abandoned,
        ):
            step(self.shop.core)

    @invariant()
    def every_change_of_state_was_legal(self) -> None:
        page = releases.list_(self.shop.core, self.shop.releaser, {}, PageRequest(limit=500))
        for row in page["items"]:
            path = self.seen.setdefault(row["release_id"], ["preview"])
            if path[-1] != row["lifecycle_state"]:
                # One rule may pass through `applying` within one transaction; every hop must be in the table.
                assert _reachable(State(path[-1]), State(row["lifecycle_state"])), (path, row)
                path.append(row["lifecycle_state"])

    @invariant()
    def a_ticket_is_pending_exactly_while_its_release_waits(self) -> None:
        approver = self.shop.actor("approver", "approver")
        box = approvals.inbox(self.shop.core, approver, "pending", {}, PageRequest(limit=500))
        waiting = releases.list_(
            self.shop.core,
            self.shop.releaser,
            {"lifecycle_state": "pending_approval"},
            PageRequest(limit=500),
        )
        assert {row["scope_id"] for row in box["items"]} == {row["release_id"] for row in waiting["items"]}
        assert box["stats"]["pending"] == len(box["items"])

    @invariant()
    def the_chain_is_whole(self) -> None:
        assert audit.verify(self.shop.core, system_actor("scheduler"))["is_intact"]

    @invariant()
    def what_ended_said_so_once(self) -> None:
        for release in self.seen:
            page = timeline.of_release(self.shop.core, self.shop.releaser, release, limit=500)
            told = [event["action"].removeprefix("release.") for event in page["items"]]
            for end in ("applied", "failed", "rejected", "expired", "cancelled", "approved", "applying"):
                assert told.count(end) <= 1, (release, told)


def _reachable(origin: State, goal: State) -> bool:
    return goal in TRANSITIONS[origin] or any(goal in TRANSITIONS[middle] for middle in TRANSITIONS[origin])


def _settings(examples: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


def test_any_life_on_sqlite() -> None:
    run_state_machine_as_test(Lifecycle, settings=_settings(25))  # type: ignore[no-untyped-call]


@pytest.mark.postgres
def test_any_life_on_postgresql(make_postgres_database: Callable[[], str]) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        lambda: Lifecycle(make_postgres_database()), settings=_settings(12)
    )
