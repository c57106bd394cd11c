# SPDX-License-Identifier: Apache-2.0
"""Who may decide a ticket, and when it is decided."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from controlplane.domain.approval import (
    check_decidable,
    check_decider,
    check_first_word,
    is_quorum,
    priority_of,
)
from controlplane.domain.errors import Problem
from controlplane.domain.permission import Actor, Grant, Permission
from controlplane.domain.policy import Risk

NOW = datetime(2026, 1, 1, tzinfo=UTC)
APPROVER = Actor("u1", "approver", grants=(Grant("approver", "project", "p1"),))


def decide(actor: Actor, requested_by: tuple[str, ...] = ("u9",), project: str = "p1") -> None:
    check_decider(actor, requested_by, Permission.RELEASE_APPROVE, project, None)


def test_who_holds_the_permission_may_decide() -> None:
    decide(APPROVER)


def test_nobody_decides_what_they_asked_for_not_even_an_admin() -> None:
    admin = Actor("u9", "admin", grants=(Grant("admin", "global"),))
    with pytest.raises(Problem, match="self_approval_denied"):
        decide(admin)


@pytest.mark.parametrize(
    "actor",
    [
        Actor("u2", "releaser", grants=(Grant("releaser", "project", "p1"),)),
        Actor("u1", "approver", grants=APPROVER.grants, ceiling=frozenset({Permission.RELEASE_READ})),
    ],
)
def test_who_lacks_it_or_whose_token_lacks_it_may_not(actor: Actor) -> None:
    with pytest.raises(Problem, match="approval_permission_denied"):
        decide(actor)


def test_an_approver_of_another_project_may_not() -> None:
    with pytest.raises(Problem, match="approval_permission_denied"):
        decide(APPROVER, project="p2")


@pytest.mark.parametrize(
    ("status", "expires_at", "error_key"),
    [
        ("pending", NOW, "ticket_expired"),
        ("expired", None, "ticket_expired"),
        ("approved", None, "ticket_decided"),
    ],
)
def test_a_ticket_that_has_ended_is_not_decided_again(
    status: str, expires_at: datetime | None, error_key: str
) -> None:
    with pytest.raises(Problem, match=error_key):
        check_decidable(status, expires_at, NOW)


def test_a_pending_ticket_is_decided_until_its_time() -> None:
    check_decidable("pending", NOW + timedelta(microseconds=1), NOW)


def test_one_person_is_one_voice() -> None:
    assert not is_quorum(["u1", "u1"], 2)
    assert is_quorum(["u1", "u2"], 2)
    with pytest.raises(Problem, match="ticket_decided"):
        check_first_word(APPROVER, ["u1"])


def test_the_riskiest_comes_first() -> None:
    assert [priority_of(risk) for risk in Risk] == [3, 2, 1, 0]
