# SPDX-License-Identifier: Apache-2.0
"""Asking for a preview: of a release, or of a rollback. The preview itself is made by a job."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from controlplane.domain import rollback
from controlplane.domain.errors import Problem
from controlplane.domain.identifier import new_id
from controlplane.domain.permission import Actor, Permission, runtime_permission
from controlplane.domain.release import State, read_state
from controlplane.services import access, catalog, jobs, timeline, variables, views
from controlplane.services.core import Beside, Core
from controlplane.store import events
from controlplane.store.tables import Environment, Project, Release, Service, ServiceVersion, Target

POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Subject:
    """What is released where: the rows that a release is made from."""

    project: Project
    target: Target
    environment: Environment
    service: Service
    version: ServiceVersion


def request(
    core: Core, actor: Actor, asked: Mapping[str, Any], beside: Beside | None = None
) -> dict[str, Any]:
    """Make a release in state `preview` and queue the job that previews it.

    Args:
        asked: `target_id` and `service` (id or name), and optionally `version`, `strategy`,
            `strategy_params`, `variables`.
        beside: called with the release's id in the transaction that makes it; what it raises undoes both.

    Raises:
        Problem: `not_found`, `permission_denied`, `validation_error` (naming the variable or field).
    """
    return _queue(core, actor, _made(core, actor, asked), beside=beside)


def check(core: Core, actor: Actor, asked: Mapping[str, Any]) -> None:
    """Let pass what `request` would make a release of; nothing is made.

    Raises:
        Problem: as `request`.
    """
    _made(core, actor, asked)


def _made(core: Core, actor: Actor, asked: Mapping[str, Any]) -> Release:
    with core.database.read() as session:
        subject = _subject(session, actor, asked)
        resolved = variables.resolve(
            core, session, subject.service, subject.version, subject.environment, subject.target,
            asked.get("variables") or {},
        )  # fmt: skip
    _require_release(core, actor, subject.project, subject.target, "apply")
    strategy = asked.get("strategy") or subject.version.strategy
    params = asked.get("strategy_params")
    if params is None:
        params = subject.version.strategy_params if strategy == subject.version.strategy else {}
    catalog.check_strategy(subject.target.runtime_type, strategy, params)
    plain, secret = resolved
    inputs = {
        "requested": {name: asked.get(name) for name in ("variables", "strategy_params")},
        "plain": plain,
        "secret": secret,
    }
    release = _new_release(core, actor, subject, "apply", strategy, params)
    release.variables = {
        **plain,
        **{name: core.vault.digest(str(value).encode()) for name, value in secret.items()},
    }
    release.inputs_cipher = core.vault.encrypt(json.dumps(inputs).encode())
    return release


def request_rollback(
    core: Core,
    actor: Actor,
    release_id: str,
    to_release_id: str | None = None,
    force_conflicts: bool | None = None,
) -> dict[str, Any]:
    """Make a release that undoes another by applying an earlier one again, and queue its preview.

    Args:
        to_release_id: the release to go back to; the newest verified one before it when left out.
        force_conflicts: whether fields that others changed since are taken over; as the release that is gone back
            to did, when left out. Kubernetes only.

    Raises:
        Problem: `release_not_found`, `release_state_invalid` (it is not applied or failed),
            `not_found` (nothing to go back to), `permission_denied`, `validation_error`.
    """
    with core.database.read() as session:
        undone, project = timeline.load_release(session, actor, release_id)
        target = session.get_one(Target, undone.target_id)
        goal = _goal(session, undone, to_release_id)
        subject = Subject(
            project,
            target,
            session.get_one(Environment, undone.environment_id),
            session.get_one(Service, undone.service_id),
            _version(session, session.get_one(Service, undone.service_id), goal.service_version),
        )
    _require_release(core, actor, project, target, "rollback")
    if read_state(undone.state) not in (State.APPLIED, State.FAILED):
        raise Problem(
            "release_state_invalid",
            f"a release that is {undone.state} cannot be rolled back",
            extra={"states": {"from": undone.state, "to": "rollback"}},
        )
    way = rollback.way(
        target.runtime_type,
        rollback.Way(goal.strategy, goal.strategy_params),
        rollback.Way(undone.strategy, undone.strategy_params),
        force_conflicts,
    )
    release = _new_release(core, actor, subject, "rollback", way.strategy, way.params)
    release.rollback_of = undone.id
    release.restores = goal.id
    release.variables = goal.variables
    release.inputs_cipher = goal.inputs_cipher
    release.payload_cipher = goal.payload_cipher
    return _queue(core, actor, release, undone)


def wait(core: Core, actor: Actor, release_id: str, seconds: float) -> dict[str, Any]:
    """Return the release with its preview once there is one, or as it is when the time is over.

    Raises:
        Problem: `release_not_found`, `permission_denied`.
    """
    until = time.monotonic() + min(max(seconds, 0.0), 300.0)
    while True:
        with core.database.read() as session:
            release, project = timeline.load_release(session, actor, release_id)
        if release.status != "previewing" or time.monotonic() >= until:
            access.require(core, actor, Permission.RELEASE_READ, project, about=("release", release_id))
            return {**views.release(release), "preview": views.preview(release)}
        time.sleep(POLL_SECONDS)


def _subject(session: Session, actor: Actor, asked: Mapping[str, Any]) -> Subject:
    target, project = access.load(session, Target, str(asked.get("target_id", "")), actor)
    named = str(asked.get("service", ""))
    service = session.scalar(
        select(Service).where(
            Service.project_id == project.id, or_(Service.id == named, Service.name == named)
        )
    )
    if service is None:
        raise Problem("not_found", f"the target's project has no service {named}")
    if service.runtime_type != target.runtime_type:
        raise Problem(
            "validation_error",
            errors={"service": [f"is for {service.runtime_type}, the target is {target.runtime_type}"]},
        )
    environment = session.get_one(Environment, target.environment_id)
    return Subject(project, target, environment, service, _version(session, service, asked.get("version")))


def _version(session: Session, service: Service, named: str | None) -> ServiceVersion:
    query = select(ServiceVersion).where(ServiceVersion.service_id == service.id)
    if named is not None:
        query = query.where(ServiceVersion.version == named)
    version = session.scalar(query.order_by(ServiceVersion.number.desc()).limit(1))
    if version is None:
        raise Problem("not_found", f"service {service.name} has no version {named or 'at all'}")
    return version


def _hold_version(session: Session, release: Release) -> None:
    """Keep the version from being deleted until the release is written. Raises Problem `not_found`."""
    query = select(ServiceVersion.id).where(
        ServiceVersion.service_id == release.service_id, ServiceVersion.version == release.service_version
    )
    if session.scalar(query.with_for_update(read=True)) is None:
        raise Problem("not_found", f"version {release.service_version} was deleted meanwhile")


def _goal(session: Session, undone: Release, to_release_id: str | None) -> Release:
    same = select(Release).where(
        Release.target_id == undone.target_id,
        Release.service_id == undone.service_id,
        Release.payload_cipher.is_not(None),
        Release.verified_at.is_not(None),
        Release.id != undone.id,
    )
    if to_release_id is not None:
        goal = session.scalar(same.where(Release.id == to_release_id))
        if goal is None:
            raise Problem("not_found", f"{to_release_id} was not applied by this service on this target")
        return goal
    before = undone.started_at or undone.created_at
    goal = session.scalar(
        same.where(Release.verified_at <= before).order_by(Release.verified_at.desc()).limit(1)
    )
    if goal is None:
        raise Problem("not_found", "there is no earlier release to go back to")
    return goal


def _require_release(core: Core, actor: Actor, project: Project, target: Target, verb: str) -> None:
    general = Permission.RELEASE_APPLY if verb == "apply" else Permission.RELEASE_ROLLBACK
    for permission in (general, runtime_permission(target.runtime_type, verb)):
        access.require(core, actor, permission, project, about=("target", target.id))


def _new_release(
    core: Core, actor: Actor, subject: Subject, action: str, strategy: str, params: Mapping[str, Any]
) -> Release:
    return Release(
        id=new_id("rel"),
        project_id=subject.project.id,
        team_id=subject.project.team_id,
        target_id=subject.target.id,
        target_name=subject.target.name,
        environment_id=subject.environment.id,
        environment_name=subject.environment.name,
        stage=subject.environment.stage,
        runtime_type=subject.target.runtime_type,
        service_id=subject.service.id,
        service_name=subject.service.name,
        service_version=subject.version.version,
        action=action,
        strategy=strategy,
        strategy_params=dict(params),
        state=str(State.PREVIEW),
        status="previewing",
        trigger_source=actor.source,
        request_id=actor.request_id,
        created_by=actor.id,
        created_by_name=actor.name,
        created_at=core.clock.now(),
    )


def _queue(
    core: Core, actor: Actor, release: Release, undone: Release | None = None, beside: Beside | None = None
) -> dict[str, Any]:
    now = core.clock.now()
    with core.database.write() as session:
        _hold_version(session, release)
        session.add(release)
        session.flush()
        job = jobs.add(
            session,
            now,
            kind="preview",
            resource=("release", release.id),
            project_id=release.project_id,
            request_id=actor.request_id,
        )
        if beside is not None:
            beside(session, release.id)
        if undone is not None:
            asked = timeline.release_event(undone, "rollback_requested", rollback=release.id)
            events.append(session, actor, now, [asked])
    core.queue.wake(job.id)
    return {**views.release(release), "preview": None, "job_id": job.id}
