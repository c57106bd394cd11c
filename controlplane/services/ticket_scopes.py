# SPDX-License-Identifier: Apache-2.0
"""What a ticket may be about, and what its decision does to that: what a new kind of gated work is added to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy.orm import Session

from controlplane.domain.install import TaskState
from controlplane.domain.permission import Actor
from controlplane.domain.release import State
from controlplane.services import cluster_members, jobs, timeline, views
from controlplane.store import guard, locking
from controlplane.store.events import NewEvent
from controlplane.store.tables import InstallTask, Job, Release, Ticket

Gated = Release | InstallTask


@dataclass(frozen=True)
class About:
    """What a ticket says of what it is about."""

    scope_type: str
    summary: str


class TicketScope(Protocol):
    """One kind of gated work. All of it happens in the transaction of the ticket's own change."""

    def about(self, row: Any) -> About:
        """Say what a ticket of it says."""
        ...

    def wait(self, session: Session, row: Any, ticket: Ticket) -> list[NewEvent]:
        """Let it wait for the ticket."""
        ...

    def lock(self, session: Session, ticket: Ticket) -> None:
        """Lock it, before the ticket is: see `store.locking`."""
        ...

    def let_through(
        self, session: Session, ticket: Ticket, actor: Actor, now: datetime
    ) -> tuple[Job | None, list[NewEvent]]:
        """Approve it, and queue the work."""
        ...

    def reject(
        self, session: Session, ticket: Ticket, actor: Actor, comment: str, now: datetime
    ) -> list[NewEvent]:
        """End it, because somebody said no."""
        ...

    def expire(self, session: Session, ticket: Ticket, now: datetime) -> list[NewEvent]:
        """End it, because nobody decided in time."""
        ...

    def show(self, session: Session, ticket: Ticket) -> dict[str, Any]:
        """Return what whoever decides is shown of it."""
        ...


class ReleaseScope:
    """A release, or a rollback, which is a release too."""

    def about(self, row: Release) -> About:
        """See `TicketScope`."""
        summary = f"{row.action} {row.service_name} {row.service_version} to {row.target_name}"
        return About("rollback" if row.action == "rollback" else "release", summary)

    def wait(self, session: Session, row: Release, ticket: Ticket) -> list[NewEvent]:
        """See `TicketScope`."""
        guard.set_status(session, row, "pending_approval", ticket_id=ticket.id)
        return [timeline.release_event(row, "pending_approval", "running", ticket=ticket.id)]

    def lock(self, session: Session, ticket: Ticket) -> None:
        """See `TicketScope`."""
        locking.release(session, ticket.scope_id)

    def let_through(
        self, session: Session, ticket: Ticket, actor: Actor, now: datetime
    ) -> tuple[Job | None, list[NewEvent]]:
        """See `TicketScope`."""
        release = session.get(Release, ticket.scope_id)
        if release is None:
            return None, []
        guard.move_release(session, release, State.APPROVED, "queued")
        job = jobs.add_apply(session, release, now, actor.request_id)
        return job, [timeline.release_event(release, "approved", by=actor.name, ticket=ticket.id)]

    def reject(
        self, session: Session, ticket: Ticket, actor: Actor, comment: str, now: datetime
    ) -> list[NewEvent]:
        """See `TicketScope`."""
        release = session.get(Release, ticket.scope_id)
        if release is None:
            return []
        guard.move_release(session, release, State.REJECTED, finished_at=now)
        return [timeline.release_event(release, "rejected", "failed", by=actor.name, comment=comment)]

    def expire(self, session: Session, ticket: Ticket, now: datetime) -> list[NewEvent]:
        """See `TicketScope`."""
        release = session.get(Release, ticket.scope_id)
        if release is None or release.state != State.PENDING_APPROVAL:
            return []
        guard.move_release(session, release, State.EXPIRED, finished_at=now)
        return [timeline.release_event(release, "expired", "warning", error_key="ticket_expired")]

    def show(self, session: Session, ticket: Ticket) -> dict[str, Any]:
        """See `TicketScope`."""
        release = session.get(Release, ticket.scope_id)
        return {
            "release": views.release(release) if release else None,
            "preview": views.preview(release) if release else None,
        }


class TaskScope:
    """A task on hosts: an install of an environment, or the rollback of one; what else there is builds on it."""

    shown_as = "install_task"

    def about(self, row: InstallTask) -> About:
        """See `TicketScope`."""
        hosts = ", ".join(node["name"] for node in row.nodes)
        verb = "install" if row.kind == "install" else "take away what was installed as"
        if row.kind == "removal":
            gone = cluster_members.removed_by(row)
            names = ", ".join(node["name"] for node in row.nodes if node["host_id"] in gone)
            return About("install", f"take {names} out of the cluster of environment {row.environment_name}")
        return About("install", f"{verb} environment {row.environment_name} ({row.runtime_type}) on {hosts}")

    def wait(self, session: Session, row: InstallTask, ticket: Ticket) -> list[NewEvent]:
        """See `TicketScope`."""
        guard.set_task_status(session, row, "pending_approval", ticket_id=ticket.id)
        return [timeline.task_event(row, "pending_approval", "running", ticket=ticket.id)]

    def lock(self, session: Session, ticket: Ticket) -> None:
        """See `TicketScope`."""
        locking.task(session, ticket.scope_id)

    def let_through(
        self, session: Session, ticket: Ticket, actor: Actor, now: datetime
    ) -> tuple[Job | None, list[NewEvent]]:
        """See `TicketScope`."""
        task = session.get(InstallTask, ticket.scope_id)
        if task is None:
            return None, []
        guard.set_task_status(session, task, "queued")
        job = jobs.add_task(session, task, now, actor.request_id)
        return job, [timeline.task_event(task, "approved", by=actor.name, ticket=ticket.id)]

    def reject(
        self, session: Session, ticket: Ticket, actor: Actor, comment: str, now: datetime
    ) -> list[NewEvent]:
        """See `TicketScope`."""
        task = session.get(InstallTask, ticket.scope_id)
        if task is None:
            return []
        guard.move_task(session, task, TaskState.CANCELLED, "rejected", finished_at=now)
        return [timeline.task_event(task, "rejected", "failed", by=actor.name, comment=comment)]

    def expire(self, session: Session, ticket: Ticket, now: datetime) -> list[NewEvent]:
        """See `TicketScope`."""
        task = session.get(InstallTask, ticket.scope_id)
        if task is None or task.status != "pending_approval":
            return []
        guard.move_task(session, task, TaskState.CANCELLED, "expired", finished_at=now)
        return [timeline.task_event(task, "expired", "warning", error_key="ticket_expired")]

    def show(self, session: Session, ticket: Ticket) -> dict[str, Any]:
        """See `TicketScope`."""
        task = session.get(InstallTask, ticket.scope_id)
        return {
            self.shown_as: views.task(task) if task else None,
            "preview": views.task_preview(task) if task else None,
        }


class NetworkEntryScope(TaskScope):
    """What is done with the virtual IP before a cluster."""

    shown_as = "network_entry_task"

    def about(self, row: InstallTask) -> About:
        """See `TicketScope`."""
        hosts = ", ".join(node["name"] for node in row.nodes)
        verb = {
            "apply": "put a virtual IP before",
            "rollback": "take back the virtual IP before",
            "failover_test": "interrupt the virtual IP to measure a failover of",
        }[row.kind]
        return About("network_entry", f"{verb} cluster {row.cluster_name} on {hosts}")


class CertRotationScope(TaskScope):
    """The certificates of a cluster's control planes, made anew."""

    shown_as = "cert_rotation_task"

    def about(self, row: InstallTask) -> About:
        """See `TicketScope`."""
        hosts = ", ".join(node["name"] for node in row.nodes)
        said = f"rotate the certificates of cluster {row.cluster_name} on {hosts}"
        return About("cert_rotation", said)


_RELEASES = ReleaseScope()
SCOPES: Mapping[str, TicketScope] = {
    "release": _RELEASES,
    "rollback": _RELEASES,
    "install": TaskScope(),
    "network_entry": NetworkEntryScope(),
    "cert_rotation": CertRotationScope(),
}


# Under which names a ticket shows what it is about; all but one of them are empty.
SHOWN = ("release", *(scope.shown_as for scope in SCOPES.values() if isinstance(scope, TaskScope)))


def of_ticket(ticket: Ticket) -> TicketScope:
    """Return what knows about a ticket's kind of work."""
    return SCOPES[ticket.scope_type]


def of_row(row: Gated) -> TicketScope:
    """Return what knows about a kind of work."""
    return SCOPES[row.subject] if isinstance(row, InstallTask) else _RELEASES
