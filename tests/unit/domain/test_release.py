# SPDX-License-Identifier: Apache-2.0
"""The lifecycle's table, read as rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.errors import Problem
from controlplane.domain.release import (
    ENDS,
    STATUSES,
    TRANSITIONS,
    State,
    check_status,
    check_transition,
    read_state,
)

states = st.sampled_from(list(State))


def test_every_state_has_a_row_and_finer_words() -> None:
    assert set(TRANSITIONS) == set(State) == set(STATUSES)


def test_a_finer_word_belongs_to_one_state_only() -> None:
    words = [word for row in STATUSES.values() for word in row]
    assert len(words) == len(set(words))


@given(states, states)
def test_an_illegal_transition_names_both_states(origin: State, goal: State) -> None:
    if goal in TRANSITIONS[origin]:
        check_transition(origin, goal)
        return
    with pytest.raises(Problem) as refused:
        check_transition(origin, goal)
    assert refused.value.error_key == "release_state_invalid"
    assert refused.value.extra["states"] == {"from": str(origin), "to": str(goal)}


@given(states)
def test_whatever_state_it_is_in_a_release_can_come_to_an_end(origin: State) -> None:
    reached, frontier = {origin}, [origin]
    while frontier:
        fresh = set(TRANSITIONS[frontier.pop()]) - reached
        reached |= fresh
        frontier += fresh
    assert reached & ENDS


def test_nothing_leaves_what_was_refused_or_taken_back() -> None:
    assert not any(
        TRANSITIONS[state] for state in (State.REJECTED, State.EXPIRED, State.CANCELLED, State.ROLLBACK)
    )


def test_nothing_is_applied_that_did_not_pass_applying() -> None:
    assert [origin for origin in State if State.APPLIED in TRANSITIONS[origin]] == [State.APPLYING]


@pytest.mark.parametrize(("stored", "means"), [("succeeded", State.APPLIED), ("rolled_back", State.ROLLBACK)])
def test_words_of_older_data_are_understood(stored: str, means: State) -> None:
    assert read_state(stored) is means


@given(st.text().filter(lambda word: word not in {*State, "succeeded", "rolled_back"}))
def test_another_word_is_refused(word: str) -> None:
    with pytest.raises(Problem, match="validation_error"):
        read_state(word)


def test_a_status_of_another_state_is_a_fault_of_ours() -> None:
    with pytest.raises(ValueError, match="does not belong"):
        check_status(State.APPLIED, "running")
