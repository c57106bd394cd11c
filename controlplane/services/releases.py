# SPDX-License-Identifier: Apache-2.0
"""Releases: apply what was previewed, read them, take them back, go on or back from a pause."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from controlplane.domain import preview as previews
from controlplane.domain.errors import Problem
from controlplane.domain.permission import Actor, Permission, runtime_permission
from controlplane.domain.release import State, read_state, stored_words
from controlplane.services import access, approvals, jobs, policy, timeline, views
from controlplane.services.core import Core
from controlplane.store import events, guard, locking, pages
from controlplane.store.tables import Job, Project, Release

JOB_HOLDS = ("queued", "running", "paused")


def apply(core: Core, actor: Actor, preview_ref: str | None, repeated: Mapping[str, Any]) -> dict[str, Any]:
    """Start what a preview showed, or ask for the approval that policy wants. Returns the release.

    Args:
        repeated: parameters of the preview sent again; one that differs refuses the apply.

    Raises:
        Problem: `preview_required`, `preview_expired`, `preview_used`, `preview_mismatch`, `preview_stale`,
            `permission_denied`.
    """
    return _apply(core, actor, preview_ref, repeated, verb="apply")


def rollback(core: Core, actor: Actor, release_id: str, preview_ref: str | None) -> dict[str, Any]:
    """Start the rollback that a rollback preview of this release showed. Returns the rollback release.

    Raises:
        Problem: as `apply`, and `preview_mismatch` when the preview is not of a rollback of this release.
    """
    with core.database.read() as session:
        timeline.load_release(session, actor, release_id)
    return _apply(core, actor, preview_ref, {}, verb="rollback", undone_id=release_id)


def _apply(
    core: Core,
    actor: Actor,
    preview_ref: str | None,
    repeated: Mapping[str, Any],
    *,
    verb: str,
    undone_id: str | None = None,
) -> dict[str, Any]:
    release, project = _of_preview(core, actor, preview_ref, verb, undone_id)
    general = Permission.RELEASE_APPLY if verb == "apply" else Permission.RELEASE_ROLLBACK
    for permission in (general, runtime_permission(release.runtime_type, verb)):
        access.require(core, actor, permission, project, about=("release", release.id))
    facts = (release.preview or {}).get("risk_facts", [])
    about = ("release", release.id)
    asked, risk, reasons = policy.ask_for(core, actor, project, release.stage, verb, facts, about=about)
    now = core.clock.now()
    job_id = None
    with core.database.write() as session:
        release = locking.release(session, release.id)
        previews.check_usable(
            preview_ref=release.preview_ref,
            state=release.state,
            used_at=release.preview_used_at,
            expires_at=release.preview_expires_at,
            now=now,
        )
        _check_repeated(core, release, repeated)
        _check_not_stale(session, release)
        requested = timeline.release_event(release, "apply_requested", preview_digest=release.preview_digest)
        guard.move_release(
            session,
            release,
            State.PENDING_APPROVAL if asked.needs_approval else State.APPROVED,
            "pending_approval" if asked.needs_approval else "queued",
            preview_used_at=now,
            applied_by=actor.id,
            approval_required=asked.needs_approval,
        )
        if asked.needs_approval:
            told = approvals.open_ticket(session, actor, release, asked, risk, reasons, now)
        else:
            job_id = jobs.add_apply(session, release, now, actor.request_id).id
            told = [timeline.release_event(release, "approved", by="policy")]
        events.append(session, actor, now, [requested, *told])
    if job_id:
        core.queue.wake(job_id)
    return views.release(release)


def _of_preview(
    core: Core, actor: Actor, preview_ref: str | None, verb: str, undone_id: str | None
) -> tuple[Release, Project]:
    if not preview_ref:
        raise Problem("preview_required")
    with core.database.read() as session:
        release = session.scalar(select(Release).where(Release.preview_ref == preview_ref))
        project = session.get(Project, release.project_id) if release else None
    if release is None or project is None or not actor.sees(project.id, project.team_id):
        raise Problem("preview_required", "there is no such preview")
    if release.action != verb or (undone_id is not None and release.rollback_of != undone_id):
        raise Problem(
            "preview_mismatch",
            f"the preview is of another action: {release.action}",
            errors={"preview_ref": ["other action"]},
        )
    return release, project


def _check_repeated(core: Core, release: Release, repeated: Mapping[str, Any]) -> None:
    inputs = json.loads(core.vault.decrypt(release.inputs_cipher)) if release.inputs_cipher else {}
    requested = inputs.get("requested", {})
    bound = {
        "target_id": release.target_id,
        "service": repeated.get("service")
        if repeated.get("service") in (release.service_id, release.service_name)
        else release.service_name,
        "version": release.service_version,
        "strategy": release.strategy,
        "strategy_params": release.strategy_params,
        "variables": requested.get("variables") or {},
    }
    named = {name: value for name, value in repeated.items() if value is not None}
    differing = previews.differing(bound, named)
    if differing:
        raise Problem(
            "preview_mismatch",
            f"other than previewed: {', '.join(differing)}",
            errors={name: ["differs from the preview"] for name in differing},
        )


HAS_CHANGED = (State.APPLIED, State.FAILED, State.ROLLBACK)


def _check_not_stale(session: Session, release: Release) -> None:
    """Refuse when another release changed the target since; the worker compares with the host itself."""
    moved = session.scalar(
        select(Release.id).where(
            Release.target_id == release.target_id,
            Release.service_id == release.service_id,
            Release.id != release.id,
            Release.started_at > release.created_at,
            Release.state.in_([word for state in HAS_CHANGED for word in stored_words(state)]),
        )
    )
    if moved is not None:
        raise Problem(
            "preview_stale",
            f"release {moved} changed the target since",
            extra={"moved": [f"release {moved}"]},
        )


def get(core: Core, actor: Actor, release_id: str) -> dict[str, Any]:
    """Return one release with its jobs. Raises Problem `release_not_found`, `permission_denied`."""
    release = _readable(core, actor, release_id)
    with core.database.read() as session:
        query = select(Job).where(Job.resource_id == release.id).order_by(Job.created_at)
        its_jobs = [views.job(job) for job in session.scalars(query)]
    return {**views.release(release), "jobs": its_jobs}


def list_(core: Core, actor: Actor, filters: Mapping[str, str], page: pages.PageRequest) -> pages.Page:
    """Return a page of the releases that the actor may read, newest first.

    Filters: target environment service (each an id or a name) lifecycle_state created_by project_id.

    Raises:
        Problem: `validation_error`, for an unknown filter, state, sort or cursor.
    """
    query = access.visible(select(Release), actor, Permission.RELEASE_READ, Release.project_id)
    columns = {
        "target": (Release.target_id, Release.target_name),
        "environment": (Release.environment_id, Release.environment_name),
        "service": (Release.service_id, Release.service_name),
        "created_by": (Release.created_by, Release.created_by_name),
        "project_id": (Release.project_id,),
    }
    for name, value in filters.items():
        if name == "lifecycle_state":
            query = query.where(Release.state.in_(stored_words(read_state(value))))
        elif name in columns:
            query = query.where(or_(*(column == value for column in columns[name])))
        else:
            raise Problem("validation_error", errors={name: ["is not a filter of releases"]})
    with core.database.read() as session:
        return pages.fetch_page(
            session, query, page, {"created_at": Release.created_at}, Release.id, views.release, "-created_at"
        )


def preview_document(core: Core, actor: Actor, release_id: str) -> dict[str, Any]:
    """Return the whole preview. Raises Problem `release_not_found`, `permission_denied`."""
    return views.preview(_readable(core, actor, release_id))


def diagnostics(core: Core, actor: Actor, release_id: str) -> dict[str, Any]:
    """Return what is known of a failure; empty members where nothing failed."""
    found = _readable(core, actor, release_id).diagnostics
    empty = {"summary": "", "stage": None, "error_key": None, "failure_domain": None}
    return {**empty, "hosts": [], "objects": [], "hints": [], **(found or {})}


def cancel(core: Core, actor: Actor, release_id: str) -> dict[str, Any]:
    """Take a release back: at once before it started; while it runs, ask its worker to end it.

    Raises:
        Problem: `release_not_found`, `permission_denied`, `release_state_invalid`.
    """
    release, _project = _changeable(core, actor, release_id)
    now = core.clock.now()
    with core.database.write() as session:
        release = locking.release(session, release.id)
        job = _live_job(session, release.id)
        if release.state == State.APPLYING:
            guard.set_status(session, release, "cancelling", cancel_requested_at=now)
            told = [timeline.release_event(release, "cancel_requested", "running")]
            if job is not None:
                # A paused job is taken back by a run of its own, which a request to cancel would end half way: the
                # first one as well as one that is sent again.
                if job.state == "paused":
                    jobs.resume(job, now, actor.request_id, verb="abort")
                elif job.params.get("verb") != "abort":
                    jobs.decision(job)
                    job.cancel_requested_at = now
        else:
            guard.move_release(session, release, State.CANCELLED, finished_at=now)
            told = [timeline.release_event(release, "cancelled")]
            told += approvals.void(session, actor, release, "cancelled", now)
            if job is not None:
                jobs.finish(job, now, "cancelled")
        events.append(session, actor, now, told)
    if job is not None:
        core.queue.wake(job.id)
    return views.release(release)


def promote(core: Core, actor: Actor, release_id: str) -> dict[str, Any]:
    """Let a paused release go on to the rest. Raises Problem `release_state_invalid`, `permission_denied`."""
    return _continue(core, actor, release_id, "promote", "promoted")


def abort(core: Core, actor: Actor, release_id: str) -> dict[str, Any]:
    """Take a paused release back to what was there. Raises Problem `release_state_invalid`, `permission_denied`."""
    return _continue(core, actor, release_id, "abort", "aborted")


def _continue(core: Core, actor: Actor, release_id: str, verb: str, told: str) -> dict[str, Any]:
    release, _project = _changeable(core, actor, release_id)
    now = core.clock.now()
    with core.database.write() as session:
        release = locking.release(session, release.id)
        job = _live_job(session, release.id)
        # A canary that is watched for a while is paused too, and its job is at work.
        if release.status != "paused" or job is None or job.state == "queued":
            raise Problem(
                "release_state_invalid",
                f"only a paused release can be {told}, this one is {release.status}",
                extra={"states": {"from": release.status, "to": told}},
            )
        guard.set_status(session, release, "running")
        if job.state == "paused":
            jobs.resume(job, now, actor.request_id, verb=verb)
        else:
            jobs.decide(job, now, actor.request_id, verb)
        events.append(session, actor, now, [timeline.release_event(release, told, "running")])
    core.queue.wake(job.id)
    return views.release(release)


def _live_job(session: Session, release_id: str) -> Job | None:
    return session.scalar(
        select(Job)
        .where(Job.resource_id == release_id, Job.kind == "apply", Job.state.in_(JOB_HOLDS))
        .with_for_update()
    )


def _readable(core: Core, actor: Actor, release_id: str) -> Release:
    with core.database.read() as session:
        release, project = timeline.load_release(session, actor, release_id)
    for permission in (Permission.RELEASE_READ, runtime_permission(release.runtime_type, "read")):
        access.require(core, actor, permission, project, about=("release", release_id))
    return release


def _changeable(core: Core, actor: Actor, release_id: str) -> tuple[Release, Project]:
    with core.database.read() as session:
        release, project = timeline.load_release(session, actor, release_id)
    verb = "rollback" if release.action == "rollback" else "apply"
    general = Permission.RELEASE_ROLLBACK if verb == "rollback" else Permission.RELEASE_APPLY
    for permission in (general, runtime_permission(release.runtime_type, verb)):
        access.require(core, actor, permission, project, about=("release", release_id))
    return release, project
