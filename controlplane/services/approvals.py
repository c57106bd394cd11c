# SPDX-License-Identifier: Apache-2.0
"""Tickets: opened by what needs a decision, decided once, ended by time. DESIGN section 4."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, func, or_, select
from sqlalchemy.orm import Session

from controlplane.domain import approval
from controlplane.domain.approval import TicketStatus
from controlplane.domain.errors import Problem
from controlplane.domain.identifier import new_id
from controlplane.domain.permission import Actor, Permission, reach, system_actor
from controlplane.domain.policy import SLA, Requirement, Risk
from controlplane.services import access, inbox_page, ticket_scopes, timeline, views
from controlplane.services.core import Core
from controlplane.services.ticket_scopes import Gated
from controlplane.store import events, guard, pages
from controlplane.store.events import NewEvent
from controlplane.store.tables import Project, Ticket, TicketAction, User

COMMENT_LENGTH = 4000
VIEWS = ("mine", "pending", "all")
FILTERS = (
    "status", "scope_type", "project_id", "team_id", "environment_id", "runtime_type", "risk_level", "priority",
    "assigned_to", "requested_by", "q",
)  # fmt: skip


def open_ticket(
    session: Session,
    actor: Actor,
    gated: Gated,
    asked: Requirement,
    risk: Risk,
    reasons: Sequence[str],
    now: datetime,
) -> list[NewEvent]:
    """Open the ticket of what policy wants a decision about, and return the events that tell it."""
    scope = ticket_scopes.of_row(gated)
    about = scope.about(gated)
    ticket = Ticket(
        id=new_id("tkt"),
        scope_type=about.scope_type,
        scope_id=gated.id,
        project_id=gated.project_id,
        team_id=gated.team_id,
        environment_id=gated.environment_id,
        runtime_type=gated.runtime_type,
        risk_level=str(risk),
        risk_reasons=list(reasons),
        priority=approval.priority_of(risk),
        required_permission=str(asked.permission),
        requested_by=actor.id,
        requested_by_name=actor.name,
        summary=about.summary,
        detail={"summary": (gated.preview or {}).get("summary", {}), "previewed_by": gated.created_by},
        preview_digest=gated.preview_digest,
        min_approvals=asked.min_approvals,
        created_at=now,
        expires_at=now + asked.ticket_expiry,
        sla_due_at=now + SLA[risk],
    )
    session.add(ticket)
    session.flush()
    told = scope.wait(session, gated, ticket)
    _note(session, ticket, actor, "created", "", now)
    return [*told, _event(ticket, "ticket_created", risk_level=ticket.risk_level, summary=about.summary)]


def approve(
    core: Core, actor: Actor, ticket_id: str, comment: str = "", expected_digest: str | None = None
) -> dict[str, Any]:
    """Say yes to a ticket; when enough have, what it is about is approved and queued.

    Args:
        expected_digest: the preview's digest as the approver saw it; another one refuses.

    Raises:
        Problem: `ticket_not_found`, `ticket_expired`, `ticket_decided`, `self_approval_denied`,
            `approval_permission_denied`, `ticket_scope_mismatch`.
    """
    ticket = _decidable(core, actor, ticket_id, comment)
    if expected_digest is not None and expected_digest != ticket.preview_digest:
        raise Problem("ticket_scope_mismatch", "the ticket is about another preview than the one you saw")
    now = core.clock.now()
    job = None
    with core.database.write() as session:
        ticket = _locked(session, ticket_id)
        approval.check_decidable(ticket.status, ticket.expires_at, now)
        said_yes = _approved_by(session, ticket_id)
        approval.check_first_word(actor, said_yes)
        _note(session, ticket, actor, "approved", comment, now)
        told = [_event(ticket, "ticket_approved", by=actor.name, comment=comment)]
        if approval.is_quorum([*said_yes, actor.id], ticket.min_approvals):
            guard.close_ticket(session, ticket, TicketStatus.APPROVED, decided_at=now)
            job, moved = ticket_scopes.of_ticket(ticket).let_through(session, ticket, actor, now)
            told += moved
        else:
            guard.touch_ticket(session, ticket)
        events.append(session, actor, now, told)
    if job is not None:
        core.queue.wake(job.id)
    return get(core, actor, ticket_id, is_viewed=False)


def reject(core: Core, actor: Actor, ticket_id: str, comment: str) -> dict[str, Any]:
    """Say no to a ticket, with a reason.

    Raises:
        Problem: as `approve`, and `validation_error` without a comment.
    """
    if not comment.strip():
        raise Problem("validation_error", errors={"comment": ["is required to reject"]})
    _decidable(core, actor, ticket_id, comment)
    now = core.clock.now()
    with core.database.write() as session:
        ticket = _locked(session, ticket_id)
        approval.check_decidable(ticket.status, ticket.expires_at, now)
        guard.close_ticket(session, ticket, TicketStatus.REJECTED, decided_at=now)
        _note(session, ticket, actor, "rejected", comment, now)
        told = [_event(ticket, "ticket_rejected", "failed", by=actor.name, comment=comment)]
        told += ticket_scopes.of_ticket(ticket).reject(session, ticket, actor, comment, now)
        events.append(session, actor, now, told)
    return get(core, actor, ticket_id, is_viewed=False)


def decide_release(
    core: Core, actor: Actor, release_id: str, decision: str, comment: str, expected_digest: str | None = None
) -> dict[str, Any]:
    """Decide the ticket of a release; `decision` is `approve` or `reject`. Returns the ticket.

    Raises:
        Problem: `release_not_found`, `ticket_not_found` (it has none), and as `approve` and `reject`.
    """
    with core.database.read() as session:
        release, _project = timeline.load_release(session, actor, release_id)
    if release.ticket_id is None:
        raise Problem("ticket_not_found", "the release has no ticket")
    if decision == "approve":
        return approve(core, actor, release.ticket_id, comment, expected_digest)
    return reject(core, actor, release.ticket_id, comment)


def assign(core: Core, actor: Actor, ticket_id: str, user_id: str) -> dict[str, Any]:
    """Name who should decide. Anybody who may decide still may.

    Raises:
        Problem: `ticket_not_found`, `ticket_decided`, `permission_denied`, `validation_error` (no such user,
            or one who could not decide it).
    """
    ticket, project = _load(core, actor, ticket_id)
    access.require(core, actor, Permission.APPROVAL_REVIEW, project, about=("ticket", ticket_id))
    now = core.clock.now()
    with core.database.write() as session:
        user = session.get(User, user_id) or session.scalar(select(User).where(User.name == user_id))
        assignee = access.actor_of(session, user.id) if user else None
        if user is None or assignee is None or not _could_decide(assignee, ticket):
            raise Problem("validation_error", errors={"user_id": ["is nobody who could decide this ticket"]})
        ticket = session.get_one(Ticket, ticket_id, with_for_update=True)
        guard.touch_ticket(session, ticket, assigned_to=user.id)
        _note(session, ticket, actor, "assigned", user.name, now)
        events.append(session, actor, now, [_event(ticket, "ticket_assigned", to=user.name)])
    return get(core, actor, ticket_id, is_viewed=False)


def comment(core: Core, actor: Actor, ticket_id: str, text: str) -> dict[str, Any]:
    """Add a comment. Raises Problem `ticket_not_found`, `permission_denied`, `validation_error`."""
    _ticket, project = _load(core, actor, ticket_id)
    access.require(core, actor, Permission.APPROVAL_READ, project, about=("ticket", ticket_id))
    if not text.strip() or len(text) > COMMENT_LENGTH:
        raise Problem("validation_error", errors={"comment": [f"must have 1 to {COMMENT_LENGTH} characters"]})
    now = core.clock.now()
    with core.database.write() as session:
        ticket = session.get_one(Ticket, ticket_id)
        _note(session, ticket, actor, "commented", text, now)
        events.append(session, actor, now, [_event(ticket, "ticket_commented", by=actor.name, comment=text)])
    return get(core, actor, ticket_id, is_viewed=False)


def get(core: Core, actor: Actor, ticket_id: str, *, is_viewed: bool = True) -> dict[str, Any]:
    """Return a ticket with its actions and what it is about. The first look of each person is kept.

    Raises:
        Problem: `ticket_not_found`, `permission_denied`.
    """
    ticket, project = _load(core, actor, ticket_id)
    access.require(core, actor, Permission.APPROVAL_READ, project, about=("ticket", ticket_id))
    with core.database.read() as session:
        actions = list(
            session.scalars(
                select(TicketAction).where(TicketAction.ticket_id == ticket_id).order_by(TicketAction.id)
            )
        )
        shown = ticket_scopes.of_ticket(ticket).show(session, ticket)
    has_looked = any(action.action == "viewed" and action.actor_id == actor.id for action in actions)
    if (
        is_viewed
        and not has_looked
        and ticket.status == TicketStatus.PENDING
        and _could_decide(actor, ticket)
    ):
        now = core.clock.now()
        with core.database.write() as session:
            actions.append(_note(session, ticket, actor, "viewed", "", now))
            events.append(session, actor, now, [_event(ticket, "ticket_viewed", by=actor.name)])
    return {
        **views.ticket(ticket),
        "actions": [views.ticket_action(action) for action in actions],
        **dict.fromkeys(ticket_scopes.SHOWN),
        **shown,
    }


def inbox(
    core: Core, actor: Actor, view: str, filters: Mapping[str, str], page: pages.PageRequest
) -> dict[str, Any]:
    """Return a page of tickets and `stats {pending, overdue, expiring_15m}` of all that the view holds.

    Args:
        view: `mine` (assigned to me, asked by me, or decidable by me and pending), `pending`, `all`.

    Raises:
        Problem: `validation_error`, for an unknown view, filter, sort or cursor.
    """
    if view not in VIEWS:
        raise Problem("validation_error", errors={"view": [f"must be one of {', '.join(VIEWS)}"]})
    now = core.clock.now()
    query = access.visible(select(Ticket), actor, Permission.APPROVAL_READ, Ticket.project_id)
    if view == "pending":
        query = query.where(Ticket.status == TicketStatus.PENDING)
    elif view == "mine":
        query = query.where(_mine(actor))
    query = _filtered(query, filters)
    sortable = {
        "priority": Ticket.priority,
        "expires_at": Ticket.expires_at,
        "sla_due_at": Ticket.sla_due_at,
        "created_at": Ticket.created_at,
    }
    with core.database.read() as session:
        stats = _stats(session, query, now)
        if page.sort is None:
            shown = inbox_page.fetch(session, query, page, now)
        else:
            shown = pages.fetch_page(session, query, page, sortable, Ticket.id, views.ticket, page.sort)
    return {**shown, "stats": stats}


def _mine(actor: Actor) -> ColumnElement[bool]:
    clauses: list[ColumnElement[bool]] = [Ticket.assigned_to == actor.id, Ticket.requested_by == actor.id]
    for permission in (Permission.RELEASE_APPROVE, Permission.RELEASE_APPLY):
        covered = reach(actor, permission)
        where: ColumnElement[bool] = or_(
            Ticket.project_id.in_(covered.projects), Ticket.team_id.in_(covered.teams)
        )
        asked = (Ticket.status == TicketStatus.PENDING) & (Ticket.required_permission == str(permission))
        clauses.append(asked if covered.everything else and_(asked, where))
    return or_(*clauses)


def _filtered(query: Select[Any], filters: Mapping[str, str]) -> Select[Any]:
    for name, value in filters.items():
        if name not in FILTERS:
            raise Problem("validation_error", errors={name: [f"must be one of {', '.join(FILTERS)}"]})
        if name == "q":
            query = query.where(Ticket.summary.icontains(value, autoescape=True))
        elif name == "priority":
            if not value.isdigit():
                raise Problem("validation_error", errors={"priority": ["must be a number from 0 to 3"]})
            query = query.where(Ticket.priority == int(value[:4]))
        else:
            query = query.where(getattr(Ticket, name) == value)
    return query


def _stats(session: Session, query: Select[Any], now: datetime) -> dict[str, int]:
    seen = query.where(Ticket.status == TicketStatus.PENDING).subquery()
    soon = now + timedelta(minutes=15)
    row = session.execute(
        select(
            func.count(),
            func.count(case((seen.c.sla_due_at < now, 1))),
            func.count(case((and_(seen.c.expires_at >= now, seen.c.expires_at < soon), 1))),
        ).select_from(seen)
    ).one()
    return {"pending": row[0], "overdue": row[1], "expiring_15m": row[2]}


def void(session: Session, actor: Actor, gated: Gated, why: str, now: datetime) -> list[NewEvent]:
    """Cancel the pending ticket of what ended without a decision; return the events that tell it."""
    ticket = session.get(Ticket, gated.ticket_id, with_for_update=True) if gated.ticket_id else None
    if ticket is None or ticket.status != TicketStatus.PENDING:
        return []
    guard.close_ticket(session, ticket, TicketStatus.CANCELLED, decided_at=now)
    _note(session, ticket, actor, "cancelled", why, now)
    return [_event(ticket, "ticket_cancelled", "warning", reason=why)]


def expire_due(core: Core) -> int:
    """End the tickets whose time is over, each with what it is about; return how many. The scheduler calls it."""
    now = core.clock.now()
    actor = system_actor("scheduler")
    with core.database.read() as session:
        due = list(
            session.scalars(
                select(Ticket.id).where(Ticket.status == TicketStatus.PENDING, Ticket.expires_at <= now)
            )
        )
    return sum(_expire(core, actor, ticket_id, now) for ticket_id in due)


def _expire(core: Core, actor: Actor, ticket_id: str, now: datetime) -> bool:
    try:
        with core.database.write() as session:
            ticket = _locked(session, ticket_id)
            guard.close_ticket(session, ticket, TicketStatus.EXPIRED, decided_at=now)
            _note(session, ticket, actor, "expired", "", now)
            told = [_event(ticket, "ticket_expired", "warning")]
            told += ticket_scopes.of_ticket(ticket).expire(session, ticket, now)
            events.append(session, actor, now, told)
    except Problem:
        # Somebody decided it between the look and the update: that word stands.
        return False
    return True


def escalate_overdue(core: Core) -> int:
    """Say once of each pending ticket past its SLA that it is overdue; return how many."""
    now = core.clock.now()
    actor = system_actor("scheduler")
    overdue = select(Ticket).where(
        Ticket.status == TicketStatus.PENDING, Ticket.sla_due_at <= now, Ticket.escalated_at.is_(None)
    )
    with core.database.read() as session:
        if session.scalar(overdue.limit(1)) is None:
            return 0
    with core.database.write() as session:
        tickets = list(session.scalars(overdue.with_for_update(skip_locked=True)))
        for ticket in tickets:
            ticket.escalated_at = now
            _note(session, ticket, actor, "escalated", "", now)
        told = [_event(ticket, "ticket_escalated", "warning") for ticket in tickets]
        events.append(session, actor, now, told)
    return len(tickets)


def _locked(session: Session, ticket_id: str) -> Ticket:
    """Return a ticket, locked after what it is about."""
    ticket = session.get_one(Ticket, ticket_id)
    ticket_scopes.of_ticket(ticket).lock(session, ticket)
    return session.get_one(Ticket, ticket_id, with_for_update=True)


def _decidable(core: Core, actor: Actor, ticket_id: str, comment: str) -> Ticket:
    if len(comment) > COMMENT_LENGTH:
        raise Problem("validation_error", errors={"comment": [f"has more than {COMMENT_LENGTH} characters"]})
    ticket, project = _load(core, actor, ticket_id)
    approval.check_decidable(ticket.status, ticket.expires_at, core.clock.now())
    try:
        _check_decider(actor, ticket)
    except Problem as problem:
        with core.database.write() as session:
            access.record_denial(session, core, actor, problem.error_key, project, ("ticket", ticket_id))
        raise
    return ticket


def _check_decider(actor: Actor, ticket: Ticket) -> None:
    approval.check_decider(
        actor,
        (ticket.requested_by, ticket.detail.get("previewed_by")),
        Permission(ticket.required_permission),
        ticket.project_id,
        ticket.team_id,
    )


def _could_decide(actor: Actor, ticket: Ticket) -> bool:
    try:
        _check_decider(actor, ticket)
    except Problem:
        return False
    return True


def _load(core: Core, actor: Actor, ticket_id: str) -> tuple[Ticket, Project]:
    with core.database.read() as session:
        try:
            return access.load(session, Ticket, ticket_id, actor)
        except Problem:
            raise Problem("ticket_not_found", f"there is no ticket {ticket_id}") from None


def _approved_by(session: Session, ticket_id: str) -> list[str]:
    query = select(TicketAction.actor_id).where(
        TicketAction.ticket_id == ticket_id, TicketAction.action == "approved"
    )
    return list(session.scalars(query))


def _note(
    session: Session, ticket: Ticket, actor: Actor, action: str, text: str, now: datetime
) -> TicketAction:
    row = TicketAction(
        id=new_id("act"),
        ticket_id=ticket.id,
        action=action,
        actor_id=actor.id,
        actor_name=actor.name,
        comment=text,
        occurred_at=now,
    )
    session.add(row)
    session.flush()
    return row


def _event(ticket: Ticket, action: str, status: str = "success", **detail: Any) -> NewEvent:
    return NewEvent(
        f"approval.{action}",
        "ticket",
        ticket.id,
        status=status,
        project_id=ticket.project_id,
        team_id=ticket.team_id,
        environment_id=ticket.environment_id,
        detail={"scope_type": ticket.scope_type, "scope_id": ticket.scope_id, **detail},
    )
