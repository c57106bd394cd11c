# SPDX-License-Identifier: Apache-2.0
"""The lifecycle of a release as a table: the guard asks it, the documentation is made from it. DESIGN section 3."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from controlplane.domain.errors import Problem


class State(StrEnum):
    """`lifecycle_state`: one of these and nothing else."""

    PREVIEW = "preview"
    PENDING_APPROVAL = "pending_approval"
    APPROVED = "approved"
    APPLYING = "applying"
    APPLIED = "applied"
    FAILED = "failed"
    ROLLBACK = "rollback"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


TRANSITIONS: Mapping[State, Mapping[State, str]] = {
    State.PREVIEW: {
        State.PENDING_APPROVAL: "apply was accepted and policy asks for a decision",
        State.APPROVED: "apply was accepted and policy asks for none",
        State.EXPIRED: "the preview was not applied in time",
    },
    State.PENDING_APPROVAL: {
        State.APPROVED: "enough approvers said yes",
        State.REJECTED: "an approver said no",
        State.EXPIRED: "nobody decided in time, or the target moved",
        State.CANCELLED: "it was taken back",
    },
    State.APPROVED: {
        State.APPLYING: "a worker holds the lease and the locks and has started",
        State.CANCELLED: "it was taken back before it started",
        State.EXPIRED: "the target moved before the first change",
    },
    State.APPLYING: {
        State.APPLIED: "verification passed",
        State.FAILED: "apply or verification failed, it was cancelled, or its worker was lost",
        State.EXPIRED: "the target moved before the first change",
    },
    State.APPLIED: {State.ROLLBACK: "its rollback release was applied"},
    State.FAILED: {State.ROLLBACK: "its rollback release was applied"},
    State.ROLLBACK: {},
    State.REJECTED: {},
    State.EXPIRED: {},
    State.CANCELLED: {},
}

ENDS = frozenset(
    {State.APPLIED, State.FAILED, State.ROLLBACK, State.REJECTED, State.EXPIRED, State.CANCELLED}
)

STATUSES: Mapping[State, tuple[str, ...]] = {
    State.PREVIEW: ("previewing", "previewed", "preview_failed"),
    State.PENDING_APPROVAL: ("pending_approval",),
    State.APPROVED: ("approved", "queued", "waiting_lock"),
    State.APPLYING: ("preparing", "running", "paused", "verifying", "cancelling"),
    State.APPLIED: ("applied",),
    State.FAILED: ("failed",),
    State.ROLLBACK: ("rollback",),
    State.REJECTED: ("rejected",),
    State.EXPIRED: ("expired",),
    State.CANCELLED: ("cancelled",),
}

# What other systems and older data call them; understood as stored values and as filters.
ALIASES: Mapping[str, State] = {"succeeded": State.APPLIED, "rolled_back": State.ROLLBACK}


def stored_words(state: State) -> tuple[str, ...]:
    """Return each word that reads as a state: its own, and what others call it."""
    return (str(state), *(word for word, meant in ALIASES.items() if meant is state))


def read_state(stored: str) -> State:
    """Return the state that a stored or imported word means.

    Raises:
        Problem: `validation_error`, for a word that is no state.
    """
    if stored in ALIASES:
        return ALIASES[stored]
    try:
        return State(stored)
    except ValueError:
        raise Problem(
            "validation_error", errors={"lifecycle_state": [f"must be one of {', '.join(State)}"]}
        ) from None


def check_transition(origin: State, goal: State) -> None:
    """Let a legal transition pass.

    Raises:
        Problem: `release_state_invalid`, naming both states.
    """
    if goal not in TRANSITIONS[origin]:
        raise Problem(
            "release_state_invalid",
            f"a release that is {origin} cannot become {goal}",
            extra={"states": {"from": str(origin), "to": str(goal)}},
        )


def check_status(state: State, status: str) -> None:
    """Hold the finer word to the state it belongs to; a wrong pair is a fault of ours (ValueError)."""
    if status not in STATUSES[state]:
        raise ValueError(f"status {status!r} does not belong to state {state}")
