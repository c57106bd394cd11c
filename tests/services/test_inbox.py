# SPDX-License-Identifier: Apache-2.0
"""The inbox in pages, while tickets are decided and new ones come, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from controlplane.domain.errors import Problem
from controlplane.services import approvals
from controlplane.store import guard
from controlplane.store.pages import PageRequest
from controlplane.store.tables import Ticket
from tests.services.installation import Installation

Between = Callable[[list[str]], None]
# name: (priority, minutes to its expiry or None, status)
TICKETS: dict[str, tuple[int, int | None, str]] = {
    "a": (0, 30, "pending"), "b": (1, 10, "pending"), "c": (1, 20, "pending"), "d": (1, None, "pending"),
    "e": (2, 5, "pending"), "f": (2, 5, "pending"), "g": (0, 5, "approved"), "h": (1, 5, "expired"),
}  # fmt: skip
ORDER = list("abcdefgh")


def add(shop: Installation, name: str, priority: int, minutes: int | None, status: str) -> None:
    now = shop.clock.now()
    with shop.core.database.write() as session:
        session.add(
            Ticket(
                id=f"tkt_{name}", scope_type="release", scope_id="rel", project_id="prj", runtime_type="compose",
                risk_level="low", priority=priority, status=status, required_permission="deploy:release:approve",
                requested_by="usr_releaser", requested_by_name="releaser", summary=name, created_at=now,
                expires_at=None if minutes is None else now + timedelta(minutes=minutes),
                decided_at=None if status == "pending" else now,
            )
        )  # fmt: skip


def decide(shop: Installation, name: str) -> None:
    shop.clock.pass_(seconds=1)
    with shop.core.database.write() as session:
        ticket = session.get_one(Ticket, f"tkt_{name}")
        guard.close_ticket(session, ticket, approvals.TicketStatus.APPROVED, decided_at=shop.clock.now())


def turn_pages(shop: Installation, limit: int, between: Between, **filters: str) -> list[str]:
    names: list[str] = []
    cursor: str | None = None
    while True:
        page = approvals.inbox(shop.core, shop.approver, "all", filters, PageRequest(limit, cursor))
        names += [item["summary"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            return names
        between(names)


def nothing(_names: list[str]) -> None:
    """Nothing happens between the pages."""


@pytest.fixture
def filled(shop: Installation) -> Installation:
    for name, values in TICKETS.items():
        add(shop, name, *values)
        shop.clock.pass_(seconds=1)
    return shop


@pytest.mark.parametrize("limit", [1, 2, 3, 8, 50])
def test_pending_ones_come_first_then_by_priority_expiry_and_age(filled: Installation, limit: int) -> None:
    assert turn_pages(filled, limit, nothing) == ORDER


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_tickets_decided_between_pages_are_shown_once(filled: Installation, limit: int) -> None:
    waiting = list("acdf")

    def between(_names: list[str]) -> None:
        if waiting:
            decide(filled, waiting.pop(0))

    assert turn_pages(filled, limit, between) == ORDER


def test_tickets_that_come_between_pages_move_no_other(filled: Installation) -> None:
    def between(names: list[str]) -> None:
        if len(names) == 2:
            add(filled, "new-before", 0, 1, "pending")
            add(filled, "new-after", 2, 60, "pending")

    assert turn_pages(filled, 2, between) == ["a", "b", "c", "d", "e", "f", "new-after", "g", "h"]


def test_one_that_leaves_the_filter_takes_no_other_with_it(filled: Installation) -> None:
    def between(names: list[str]) -> None:
        if len(names) == 2:
            decide(filled, "a")

    assert turn_pages(filled, 2, between, status="pending") == list("abcdef")


@pytest.mark.parametrize("cursor", ["2", "x", "W10", "bnVsbA", "WzEsMiwzLDQsNSw2XQ", "\N{SNOWMAN}"])
def test_what_is_no_cursor_is_refused(shop: Installation, cursor: str) -> None:
    with pytest.raises(Problem, match="validation_error"):
        approvals.inbox(shop.core, shop.approver, "all", {}, PageRequest(2, cursor))


def test_a_cursor_with_other_things_in_it_is_refused(filled: Installation) -> None:
    import base64
    import json

    now = filled.clock.now().isoformat()
    whole: list[Any] = [now, 0, 1, now, now, "tkt_a"]
    for place, wrong in (
        (0, "x"),
        (0, now[:19]),
        (1, "0"),
        (2, 2**40),
        (3, 7),
        (3, "0001-01-01T00:00:00+09:00"),
        (5, "a\0"),
        (5, None),
        (5, "\ud800"),
    ):
        changed = [*whole[:place], wrong, *whole[place + 1 :]]
        cursor = base64.urlsafe_b64encode(json.dumps(changed).encode()).decode()
        with pytest.raises(Problem, match="validation_error"):
            approvals.inbox(filled.core, filled.approver, "all", {}, PageRequest(2, cursor))
