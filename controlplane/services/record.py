# SPDX-License-Identifier: Apache-2.0
"""What is the same whenever a resource is changed: its event, a name that is taken, a thing that is still used."""

from __future__ import annotations

from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from controlplane.domain.errors import Problem
from controlplane.domain.permission import Actor
from controlplane.services.core import Core
from controlplane.store import events
from controlplane.store.events import NewEvent
from controlplane.store.tables import Project


def flush(session: Session, taken: str) -> None:
    """Write what changed.

    Raises:
        Problem: `conflict` with this sentence where a name that has to be unique is taken.
    """
    try:
        session.flush()
    except IntegrityError:
        raise Problem("conflict", taken) from None


def remove(session: Session, row: Any, used: str) -> None:
    """Delete a row.

    Raises:
        Problem: `resource_in_use` with this sentence where something refers to it.
    """
    session.delete(row)
    try:
        session.flush()
    except IntegrityError:
        raise Problem("resource_in_use", used) from None


def tell(
    core: Core,
    session: Session,
    actor: Actor,
    action: str,
    about: tuple[str, str],
    project: Project | None,
    **detail: Any,
) -> None:
    """Write an event; the last thing in its transaction. `detail` says names, never a secret."""
    told = NewEvent(
        action,
        about[0],
        about[1],
        project_id=project.id if project else None,
        team_id=project.team_id if project else None,
        environment_id=about[1] if about[0] == "environment" else None,
        detail=detail,
    )
    events.append(session, actor, core.clock.now(), [told])
