# SPDX-License-Identifier: Apache-2.0
"""Who has to say yes to what, and how risky it is. The matrix is data; this reads it. DESIGN section 4."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from typing import Any

from controlplane.domain.errors import Problem
from controlplane.domain.permission import Permission


class Risk(IntEnum):
    """Ordered, so that rules can say "at least". Its text is the lower-case name."""

    LOW = 0
    MEDIUM = 1
    HIGH = 2
    CRITICAL = 3

    def __str__(self) -> str:
        return self.name.lower()


SLA: Mapping[Risk, timedelta] = {
    Risk.LOW: timedelta(hours=8),
    Risk.MEDIUM: timedelta(hours=2),
    Risk.HIGH: timedelta(minutes=30),
    Risk.CRITICAL: timedelta(minutes=15),
}

# What a fact that a preview found adds to the risk, and how it is said.
FACTS: Mapping[str, tuple[int, str]] = {
    "deletes": (1, "something that runs would be deleted"),
    "privileged": (2, "a container would run privileged"),
    "image_unpinned": (1, "an image is not pinned by its digest"),
    "replica_loss": (1, "fewer replicas would run"),
    "stateful_change": (1, "something that keeps data would change"),
    "field_takeover": (2, "a field that somebody else manages would be taken over"),
    "interrupts": (1, "what serves would be interrupted for some seconds"),
    "tls_unverified": (1, "the cluster's certificate is not verified"),
}

STAGES = ("development", "staging", "production")
_STAGE_RISK: Mapping[str, int] = {"development": 0, "staging": 0, "production": 1}


def risk_of(stage: str, action: str, facts: Collection[str]) -> tuple[Risk, list[str]]:
    """Return the risk of an action in a stage and its reasons, each a sentence.

    A fact that is not known counts as one step and is named: what cannot be read is not harmless.
    """
    points = _STAGE_RISK.get(stage, 1)
    reasons = [f"{action} in {stage}"] if points else []
    for fact in sorted(set(facts)):
        weight, said = FACTS.get(fact, (1, fact))
        points += weight
        reasons.append(said)
    return Risk(min(points, Risk.CRITICAL)), reasons


@dataclass(frozen=True)
class Requirement:
    """What policy asks for one action.

    `permission` is what whoever approves needs. Where no approval is asked, whoever applies needs every one of
    `permissions`, of which it is the strictest.
    """

    needs_approval: bool
    permission: Permission
    ticket_expiry: timedelta
    min_approvals: int
    permissions: frozenset[Permission] = frozenset()


@dataclass(frozen=True)
class Rule:
    """One row of the matrix. `min_risk` makes it apply from that risk up; '*' matches every action."""

    stage: str
    actions: tuple[str, ...]
    needs_approval: bool
    permission: Permission
    ticket_expiry: timedelta
    min_approvals: int = 1
    min_risk: Risk = Risk.LOW

    def covers(self, stage: str, action: str, risk: Risk) -> bool:
        """Say whether the row speaks of this."""
        return (
            self.stage == stage and (action in self.actions or "*" in self.actions) and risk >= self.min_risk
        )


def read_rule(row: Mapping[str, Any]) -> Rule:
    """Return a rule from its row in a policy file or a project's override.

    Raises:
        Problem: `validation_error`, naming the field.
    """
    unknown = set(row) - {
        "stage", "actions", "needs_approval", "permission", "ticket_expiry_seconds", "min_approvals", "min_risk"
    }  # fmt: skip
    if unknown:
        raise Problem(
            "validation_error", errors={name: ["is not a field of a rule"] for name in sorted(unknown)}
        )
    try:
        stage = str(row["stage"])
        if stage not in STAGES:
            raise ValueError(f"stage must be one of {', '.join(STAGES)}")
        expiry = int(row.get("ticket_expiry_seconds", 1800))
        least = int(row.get("min_approvals", 1))
        if not 60 <= expiry <= 30 * 86400 or not 1 <= least <= 10:
            raise ValueError("ticket_expiry_seconds is from 60 to 2592000, min_approvals from 1 to 10")
        return Rule(
            stage=stage,
            actions=tuple(str(action) for action in row.get("actions", ["*"])),
            needs_approval=row.get("needs_approval", True) is True,
            permission=Permission(row.get("permission", Permission.RELEASE_APPROVE)),
            ticket_expiry=timedelta(seconds=expiry),
            min_approvals=least,
            min_risk=Risk[str(row.get("min_risk", "low")).upper()],
        )
    except (KeyError, ValueError, TypeError) as error:
        raise Problem("validation_error", f"a rule of the approval matrix is not valid: {error}") from None


def requirement(
    matrix: Sequence[Rule], overrides: Sequence[Rule], stage: str, action: str, risk: Risk
) -> Requirement:
    """Return what is asked: the strictest of all rules that speak of it.

    Because the strictest wins, an override can raise what the matrix asks and never lower it. Where no rule
    speaks, an approval is asked: what nobody thought of is not let through.
    """
    rules = [rule for rule in (*matrix, *overrides) if rule.covers(stage, action, risk)]
    if not rules:
        return Requirement(True, Permission.RELEASE_APPROVE, timedelta(minutes=30), 1)
    gating = [rule for rule in rules if rule.needs_approval]
    asked = gating or rules
    permissions = frozenset(rule.permission for rule in asked)
    return Requirement(
        needs_approval=bool(gating),
        permission=max(sorted(permissions), key=_strictness),
        ticket_expiry=min(rule.ticket_expiry for rule in asked),
        min_approvals=max(rule.min_approvals for rule in asked),
        permissions=permissions,
    )


def _strictness(code: Permission) -> int:
    return {Permission.ADMIN: 2, Permission.RELEASE_APPROVE: 1}.get(code, 0)
