# SPDX-License-Identifier: Apache-2.0
"""Tickets: their states, who may decide, and when enough have. DESIGN section 4."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from enum import StrEnum

from controlplane.domain.errors import Problem
from controlplane.domain.permission import Actor, Permission
from controlplane.domain.policy import Risk


class TicketStatus(StrEnum):
    """Where a ticket stands; all but `PENDING` are ends."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


SCOPE_TYPES = ("release", "rollback", "install", "network_entry", "cert_rotation", "cluster_import")


def priority_of(risk: Risk) -> int:
    """Return 0 (first) for critical to 3 for low."""
    return 3 - int(risk)


def check_decidable(status: str, expires_at: datetime | None, now: datetime) -> None:
    """Let pass a ticket that is pending and not past its time.

    Raises:
        Problem: `ticket_expired`, `ticket_decided`.
    """
    if status == TicketStatus.EXPIRED or (
        status == TicketStatus.PENDING and expires_at is not None and now >= expires_at
    ):
        raise Problem("ticket_expired")
    if status != TicketStatus.PENDING:
        raise Problem("ticket_decided", f"the ticket is {status}", extra={"ticket_status": status})


def check_decider(
    actor: Actor,
    requested_by: Collection[str | None],
    permission: Permission,
    project_id: str,
    team_id: str | None,
) -> None:
    """Let pass who may decide: holds what the ticket asks, and asked for none of it.

    Raises:
        Problem: `self_approval_denied`, `approval_permission_denied`.
    """
    if actor.id in requested_by:
        raise Problem("self_approval_denied")
    if not actor.may(permission, project_id, team_id):
        raise Problem(
            "approval_permission_denied", f"this needs {permission}", extra={"permission": str(permission)}
        )


def check_first_word(actor: Actor, approved_by: Collection[str]) -> None:
    """Let a person approve a ticket once. Raises Problem `ticket_decided`."""
    if actor.id in approved_by:
        raise Problem("ticket_decided", "you approved it already; it waits for somebody else")


def is_quorum(approved_by: Collection[str], min_approvals: int) -> bool:
    """Say whether enough different people approved."""
    return len(set(approved_by)) >= min_approvals
