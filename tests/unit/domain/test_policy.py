# SPDX-License-Identifier: Apache-2.0
"""The matrix and the risk: strict wins, silence asks."""

from __future__ import annotations

import json
from datetime import timedelta
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.domain.errors import Problem
from controlplane.domain.permission import Permission
from controlplane.domain.policy import FACTS, SLA, STAGES, Risk, Rule, read_rule, requirement, risk_of

SHIPPED = [
    read_rule(row)
    for row in json.loads((resources.files("controlplane") / "approval_matrix.json").read_text())
]

rules = st.builds(
    Rule,
    stage=st.sampled_from(STAGES),
    actions=st.sampled_from([("apply",), ("rollback",), ("*",)]),
    needs_approval=st.booleans(),
    permission=st.sampled_from([Permission.RELEASE_APPLY, Permission.RELEASE_APPROVE]),
    ticket_expiry=st.integers(60, 7200).map(lambda seconds: timedelta(seconds=seconds)),
    min_approvals=st.integers(1, 4),
    min_risk=st.sampled_from(list(Risk)),
)


@pytest.mark.parametrize(
    ("stage", "asked"), [("development", False), ("staging", False), ("production", True)]
)
@pytest.mark.parametrize("action", ["apply", "rollback"])
def test_the_matrix_that_ships_is_the_designs(stage: str, action: str, asked: bool) -> None:
    found = requirement(SHIPPED, [], stage, action, Risk.LOW)
    assert found.needs_approval is asked
    assert found.permission == (Permission.RELEASE_APPROVE if asked else Permission.RELEASE_APPLY)


def test_a_production_ticket_lives_half_an_hour() -> None:
    assert requirement(SHIPPED, [], "production", "apply", Risk.LOW).ticket_expiry == timedelta(minutes=30)


@given(
    st.lists(rules, max_size=4),
    st.lists(rules, max_size=4),
    st.sampled_from(STAGES),
    st.sampled_from(list(Risk)),
)
def test_an_override_raises_and_never_lowers(
    matrix: list[Rule], overrides: list[Rule], stage: str, risk: Risk
) -> None:
    before = requirement([*SHIPPED, *matrix], [], stage, "apply", risk)
    after = requirement([*SHIPPED, *matrix], overrides, stage, "apply", risk)
    assert after.needs_approval >= before.needs_approval
    if before.needs_approval:
        assert after.min_approvals >= before.min_approvals
        assert after.ticket_expiry <= before.ticket_expiry
        assert (after.permission == Permission.RELEASE_APPROVE) >= (
            before.permission == Permission.RELEASE_APPROVE
        )


def test_what_no_rule_speaks_of_is_asked_for() -> None:
    assert requirement([], [], "production", "something_new", Risk.LOW).needs_approval


def test_a_rule_with_a_risk_applies_from_that_risk_up() -> None:
    two = read_rule({"stage": "staging", "actions": ["apply"], "min_risk": "high", "min_approvals": 2})
    assert not requirement(SHIPPED, [two], "staging", "apply", Risk.MEDIUM).needs_approval
    assert requirement(SHIPPED, [two], "staging", "apply", Risk.HIGH).min_approvals == 2


@pytest.mark.parametrize(
    "row",
    [{}, {"stage": "moon"}, {"stage": "staging", "colour": 1}, {"stage": "staging", "min_approvals": 0},
     {"stage": "staging", "permission": "root"}, {"stage": "staging", "ticket_expiry_seconds": "soon"}],
)  # fmt: skip
def test_a_rule_that_is_none_is_refused(row: dict[str, object]) -> None:
    with pytest.raises(Problem, match="validation_error"):
        read_rule(row)


@given(st.sampled_from(STAGES), st.sets(st.sampled_from([*FACTS, "something_nobody_knows"])))
def test_more_facts_never_lower_the_risk(stage: str, facts: set[str]) -> None:
    whole, _reasons = risk_of(stage, "apply", facts)
    for fact in facts:
        assert risk_of(stage, "apply", facts - {fact})[0] <= whole


def test_production_is_never_low() -> None:
    assert risk_of("production", "apply", [])[0] == Risk.MEDIUM
    assert risk_of("development", "apply", [])[0] == Risk.LOW


def test_a_cluster_whose_certificate_is_not_verified_raises_the_risk_and_is_named() -> None:
    risk, reasons = risk_of("development", "apply", ["tls_unverified"])
    assert risk > risk_of("development", "apply", [])[0]
    assert reasons == ["the cluster's certificate is not verified"]


def test_each_risk_has_the_sla_of_the_design() -> None:
    assert [SLA[risk].total_seconds() / 60 for risk in Risk] == [480, 120, 30, 15]


def test_without_an_approval_every_rules_permission_is_asked_of_who_applies() -> None:
    raised = read_rule({"stage": "development", "needs_approval": False, "permission": "deploy:target:write"})
    found = requirement(SHIPPED, [raised], "development", "apply", Risk.LOW)
    assert not found.needs_approval
    assert found.permissions == {Permission.RELEASE_APPLY, Permission.TARGET_WRITE}


def test_an_approval_asks_for_the_strictest_permission_that_a_rule_names() -> None:
    raised = read_rule({"stage": "production", "permission": "admin"})
    assert requirement(SHIPPED, [raised], "production", "apply", Risk.LOW).permission == Permission.ADMIN
