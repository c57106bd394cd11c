# SPDX-License-Identifier: Apache-2.0
"""What runs on a target now, asked of its hosts by a job; and drift: what differs from what was released."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, or_, select
from sqlalchemy.orm import Session

from controlplane.domain.permission import Actor, Permission
from controlplane.ports.runner import PlaybookRun, RunEvent, RunHost, RunOutcome
from controlplane.services import access, connection, jobs, release_spec, run_place, views
from controlplane.services.core import Core
from controlplane.services.jobs import Lease
from controlplane.services.run_place import RunPlace
from controlplane.store import events
from controlplane.store.events import NewEvent
from controlplane.store.tables import Job, Release, Service, Target

STATUS_TIMEOUT = 120.0
BATCH = 20
# Releases that are made meanwhile refer to the row and do not wait for it.
_ROW: Any = {"key_share": True}


def request(core: Core, actor: Actor, target_id: str) -> dict[str, Any]:
    """Queue a look at the target's hosts and return the job.

    Raises:
        Problem: `not_found`, `permission_denied`.
    """
    with core.database.read() as session:
        target, project = access.load(session, Target, target_id, actor)
    access.require(core, actor, Permission.TARGET_READ, project, about=("target", target_id))
    now = core.clock.now()
    with core.database.write() as session:
        job = jobs.add(
            session,
            now,
            kind="target_status",
            resource=("target", target.id),
            project_id=target.project_id,
            request_id=actor.request_id,
        )
    core.queue.wake(job.id)
    return views.job(job)


def look_after(session: Session, release: Release, now: datetime, request_id: str | None) -> Job:
    """Queue a look at the target of a release whose run did not tell what it left there.

    Call `core.queue.wake` with its id after the commit.
    """
    return jobs.add(
        session,
        now,
        kind="target_status",
        resource=("target", release.target_id),
        project_id=release.project_id,
        request_id=request_id,
    )


def note(
    session: Session, release: Release, project: str, found: Mapping[str, Mapping[str, Any]], now: datetime
) -> None:
    """Keep what a release's run found running when it ended: for each host what the host tells of this service."""
    target = session.get_one(Target, release.target_id, with_for_update=_ROW)
    service = session.get_one(Service, release.service_id)
    known: Mapping[str, Any] = target.status.get("hosts", {})
    hosts = {}
    for name, live in found.items():
        others = [one for one in (known.get(name) or {}).get("projects", []) if one.get("project") != project]
        own = {"project": project, **_named(service), **live}
        hosts[name] = _of_host(name, [*others, own])
    drift = list(target.status.get("drift", []))
    if drift:
        told = [one["release"] for one in drift]
        mine = select(Release.id).where(Release.service_id == service.id, Release.id.in_(told))
        gone = set(session.scalars(mine))
        drift = [one for one in drift if one["release"] not in gone]
    target.status = {"hosts": hosts, "drift": drift}
    target.status_at = now


def _named(service: Service) -> dict[str, str]:
    return {"service": service.name, "service_id": service.id}


def _of_host(name: str, projects: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What runs on a host, by service; the first one's also at the top."""
    found = sorted((dict(one) for one in projects), key=lambda one: str(one["project"]))
    return {"schema": "tidegate.status/v1", "host": name, **found[0], "projects": found}


def look_where_due(core: Core) -> int:
    """Queue a look at each target with a release whose last look was asked for an interval ago; return how many.

    The interval is the setting `drift_interval_seconds`; 0 looks at nothing by itself.
    """
    interval = core.settings.drift_interval_seconds
    if not interval:
        return 0
    now = core.clock.now()
    with core.database.read() as session:
        due = list(session.scalars(_due(now - timedelta(seconds=interval)).limit(BATCH)))
    return sum(_look_again(core, target_id, now - timedelta(seconds=interval)) for target_id in due)


def _due(before: datetime) -> Select[str]:
    recent = select(Job.id).where(
        Job.kind == "target_status",
        Job.resource_id == Target.id,
        or_(Job.created_at > before, Job.state != "done"),
    )
    released = select(Release.id).where(Release.target_id == Target.id, Release.verified_at.is_not(None))
    return select(Target.id).where(released.exists(), ~recent.exists())


def _look_again(core: Core, target_id: str, before: datetime) -> bool:
    with core.database.write() as session:
        target = session.get(Target, target_id, with_for_update=True)
        # Another scheduler may have asked between the look and the lock.
        if target is None or session.scalar(_due(before).where(Target.id == target_id)) is None:
            return False
        job = jobs.add(
            session,
            core.clock.now(),
            kind="target_status",
            resource=("target", target.id),
            project_id=target.project_id,
        )
    core.queue.wake(job.id)
    return True


def latest(core: Core, actor: Actor, target_id: str) -> dict[str, Any]:
    """Return what the last look found, `{target_id, checked_at, hosts, releases}`, and which releases run there.

    Raises:
        Problem: `not_found`, `permission_denied`.
    """
    with core.database.read() as session:
        target, project = access.load(session, Target, target_id, actor)
        releases = [views.release(row) for row in _newest_releases(session, target_id)]
    access.require(core, actor, Permission.TARGET_READ, project, about=("target", target_id))
    return {
        "target_id": target.id,
        "checked_at": views.moment(target.status_at),
        "hosts": target.status.get("hosts", {}),
        "drift": target.status.get("drift", []),
        "releases": releases,
    }


def _newest_releases(session: Session, target_id: str) -> list[Release]:
    """Return for each service of a target the release that was verified last."""
    newest: dict[str, Release] = {}
    query = (
        select(Release)
        .where(Release.target_id == target_id, Release.verified_at.is_not(None))
        .order_by(Release.verified_at.desc())
        .limit(200)
    )
    for row in session.scalars(query):
        newest.setdefault(row.service_id, row)
    return list(newest.values())


class TargetStatusJob:
    """See `job_kind.JobKind`. Reads only: first what runs, then each release once more as a preview, which says
    what has drifted from it."""

    def __init__(self, core: Core, lease: Lease) -> None:
        self._core = core
        self._lease = lease
        self._place = RunPlace("release_hosts", {})
        self._hosts: Mapping[str, RunHost] = {}
        self._unreachable: set[str] = set()
        self._found: dict[str, Any] = {}
        self._drift: list[dict[str, Any]] = []
        self._unseen: list[Mapping[str, Any]] = []
        self._seeing: Mapping[str, Any] | None = None
        self._has_failed = False
        self._services: dict[str, dict[str, str]] = {}
        self._began_at = core.clock.now()

    def begin(self) -> PlaybookRun | None:
        """Ask about each service that was ever released there."""
        with self._core.database.read() as session:
            target = session.get_one(Target, self._lease.resource_id)
            self._place = run_place.of_target(self._core, session, target)
            self._hosts = self._place.hosts
            namespace = {"namespace": target.namespace} if target.namespace else {}
            services = session.scalars(
                select(Service).where(
                    Service.id.in_(select(Release.service_id).where(Release.target_id == target.id))
                )
            )
            self._services = {
                release_spec.project_name(service, target): _named(service) for service in services
            }
            self._unseen = [
                release_spec.stored_spec(self._core, session, release)
                for release in _newest_releases(session, target.id)
            ]
        if not self._services:
            self._finish()
            return None
        projects = sorted(self._services)
        return self._run("target_status.yml", {"api": release_spec.API, "projects": projects, **namespace})

    def _run(self, playbook: str, document: Mapping[str, Any]) -> PlaybookRun:
        return PlaybookRun(
            job_id=self._lease.job_id,
            playbook=playbook,
            hosts=list(self._hosts.values()),
            group=self._place.group,
            documents={"release_spec_file": document, **self._place.documents},
            secret_env=release_spec.secret_env(self._core),
            timeout=STATUS_TIMEOUT,
        )

    def record(self, batch: Sequence[RunEvent]) -> None:
        """Keep the log of the first run; the others are looks of the same kind."""
        self._unreachable |= {event.host for event in batch if event.unreachable and event.host}
        with self._core.database.write() as session:
            jobs.fenced(session, self._lease)
            if self._seeing is None:
                jobs.write_logs(session, self._lease, batch)

    def end(self, outcome: RunOutcome) -> PlaybookRun | None:
        """Take in what a run found; when all were made, keep it on the target's row and tell of drift."""
        self._has_failed = self._has_failed or outcome.status != "successful"
        if self._seeing is None:
            self._found = {name: outcome.results.get(f"{name}.status") for name in self._hosts}
        else:
            self._drift += [
                {"host": name, "service": service["name"], "release": self._seeing["release_id"],
                 "action": service["action"], "changes": service.get("changes", [])}
                for name in self._hosts
                for service in (outcome.results.get(f"{name}.preview") or {}).get("services", [])
                if service.get("action") != "none"
            ]  # fmt: skip
        if self._unseen and len(self._unreachable) < len(self._hosts):
            self._seeing = self._unseen.pop(0)
            return self._run("release_preview.yml", self._seeing)
        self._finish()
        return None

    def _finish(self) -> None:
        reached = connection.explain(self._core, self._hosts, self._unreachable)
        hosts = {
            name: self._with_services(name, found)
            if found
            else {"error_key": reached.get(name, ("internal_error", ""))[0]}
            for name, found in self._found.items()
        }
        now = self._core.clock.now()
        with self._core.database.write() as session:
            job = jobs.fenced(session, self._lease)
            target = session.get_one(Target, self._lease.resource_id, with_for_update=_ROW)
            jobs.finish(job, now, "failed" if self._has_failed else "succeeded")
            if target.status_at is not None and target.status_at > self._began_at:
                # A release ended meanwhile, or a later look: what they found is newer.
                return
            target.status = {"hosts": hosts, "drift": self._drift}
            target.status_at = self._began_at
            if self._drift:
                told = NewEvent(
                    "resource.drift_found", "target", target.id, status="warning",
                    project_id=target.project_id, environment_id=target.environment_id,
                    detail={"drift": self._drift},
                )  # fmt: skip
                events.append(session, self._lease.actor, now, [told])

    def _with_services(self, name: str, found: Mapping[str, Any]) -> dict[str, Any]:
        projects = [
            {**one, **self._services.get(str(one.get("project")), {})} for one in found.get("projects", [])
        ]
        return {**found, **(_of_host(name, projects) if projects else {})}

    def refuse(self, error_key: str, detail: str) -> None:
        """End the job; the target keeps what was known of it."""
        with self._core.database.write() as session:
            job: Job = jobs.fenced(session, self._lease)
            jobs.finish(job, self._core.clock.now(), "failed", {"error_key": error_key, "detail": detail})
