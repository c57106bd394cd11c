# SPDX-License-Identifier: Apache-2.0
"""Releases in a given state, written straight to the tables."""

from __future__ import annotations

from controlplane.domain.identifier import new_id
from controlplane.domain.permission import system_actor
from controlplane.domain.release import State
from controlplane.services.core import Core
from controlplane.services.timeline import release_event
from controlplane.store import events, guard
from controlplane.store.tables import Environment, Release, Service, Target


def add_release(core: Core, project_id: str, state: str = "preview", status: str = "previewed") -> str:
    """Add a release with its target, environment and service; return its id."""
    now = core.clock.now()
    environment = Environment(
        id=new_id("env"), project_id=project_id, name=new_id("e"), stage="development", runtime_type="compose",
        created_at=now,
    )  # fmt: skip
    service = Service(
        id=new_id("svc"), project_id=project_id, name=new_id("s"), runtime_type="compose", created_at=now
    )
    with core.database.write() as session:
        session.add_all([environment, service])
        session.flush()
        target = Target(
            id=new_id("tgt"), project_id=project_id, name=new_id("t"), environment_id=environment.id,
            runtime_type="compose", host_ids=[], created_at=now,
        )  # fmt: skip
        session.add(target)
        session.flush()
        release = Release(
            id=new_id("rel"), project_id=project_id, target_id=target.id, target_name=target.name,
            environment_id=environment.id, environment_name=environment.name, stage="development",
            runtime_type="compose", service_id=service.id, service_name=service.name, service_version="1",
            strategy="rolling", state=state, status=status, trigger_source="api", created_by="usr_x",
            created_by_name="requester", created_at=now,
        )  # fmt: skip
        session.add(release)
    return release.id


def end_release(core: Core, release_id: str, goal: State = State.APPLIED) -> None:
    """Move a release to an end, with its event, as a worker does."""
    with core.database.write() as session:
        release = session.get_one(Release, release_id)
        guard.move_release(session, release, goal)
        events.append(session, system_actor("worker"), core.clock.now(), [release_event(release, str(goal))])
