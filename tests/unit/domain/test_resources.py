# SPDX-License-Identifier: Apache-2.0
"""Whose turn it is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.resources import Claim, blocker

A, B, C = frozenset({"host:a"}), frozenset({"host:b"}), frozenset({"host:a", "host:b"})


def test_nobody_waits_for_what_nobody_touches() -> None:
    assert blocker("2", B, [Claim("1", A, True), Claim("2", B, False)]) is None


def test_one_waits_for_the_holder() -> None:
    assert blocker("2", A, [Claim("1", C, True), Claim("2", A, False)]) == "1"


def test_one_waits_for_who_came_before_even_when_it_waits_itself() -> None:
    claims = [Claim("1", A, True), Claim("2", C, False), Claim("3", B, False)]
    assert blocker("3", B, claims) == "2"


def test_one_that_holds_though_it_came_later_is_waited_for() -> None:
    assert blocker("1", A, [Claim("1", A, False), Claim("2", A, True)]) == "2"


@given(st.lists(st.tuples(st.frozensets(st.sampled_from("abcd"), max_size=3), st.booleans()), max_size=8))
def test_two_that_may_go_never_share_a_resource_and_one_always_may(
    queue: list[tuple[frozenset[str], bool]],
) -> None:
    held: set[str] = set()
    claims = []
    for number, (wanted, wants_hold) in enumerate(queue):
        holds = wants_hold and not wanted & held
        held |= wanted if holds else set()
        claims.append(Claim(str(number), wanted, holds))
    free = [
        claim
        for claim in claims
        if not claim.holds and blocker(claim.job_id, claim.resources, claims) is None
    ]
    for position, claim in enumerate(free):
        assert not claim.resources & held
        assert all(not claim.resources & other.resources for other in free[position + 1 :])
    if claims and not any(claim.holds for claim in claims):
        assert free
