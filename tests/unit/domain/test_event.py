# SPDX-License-Identifier: Apache-2.0
"""The chain: nothing can be changed, left out or put in without it showing."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.event import ACTIONS, GENESIS, HASHED, chain_hash

EVENT: dict[str, Any] = dict.fromkeys(HASHED) | {
    "seq": 1,
    "action": "release.applied",
    "detail": {"a": 1},
}


@given(st.sampled_from(HASHED), st.text(min_size=1))
def test_each_field_is_under_the_hash(name: str, value: str) -> None:
    assert chain_hash(GENESIS, {**EVENT, name: value}) != chain_hash(GENESIS, EVENT)


@given(st.text(alphabet="0123456789abcdef", min_size=64, max_size=64).filter(lambda text: text != GENESIS))
def test_the_event_before_is_under_the_hash(previous: str) -> None:
    assert chain_hash(previous, EVENT) != chain_hash(GENESIS, EVENT)


def test_lone_surrogates_can_be_chained() -> None:
    assert chain_hash(GENESIS, {**EVENT, "detail": {"tail": "\udcff"}})


def test_the_events_of_the_design_are_there() -> None:
    for action in (
        "release.preview_failed", "release.step_started", "release.rollback_completed", "approval.ticket_viewed",
        "environment.install_step_failed", "cluster.cert_rotation_failed", "network_entry.failover_observed",
        "access.denied", "access.role_unbound",
    ):  # fmt: skip
        assert action in ACTIONS
