# SPDX-License-Identifier: Apache-2.0
"""Whether an environment does what it is there for, asked of its hosts by a job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from controlplane.domain.permission import Actor, Permission
from controlplane.ports.runner import PlaybookRun, RunOutcome
from controlplane.services import access, install_spec, jobs, run_place, views
from controlplane.services.core import Core
from controlplane.services.look import Look
from controlplane.store import events
from controlplane.store.events import NewEvent
from controlplane.store.tables import Environment, Project

TIMEOUT_SECONDS = 300.0
PLAYBOOK = "environment_health.yml"
# What a check may change: an environment that is being made, or taken away, is what its task says.
_JUDGED = ("ready", "failed", "offline")


def request(core: Core, actor: Actor, environment_id: str) -> dict[str, Any]:
    """Queue a check of an environment and return the job. What it finds is the environment's `health`.

    Raises:
        Problem: `not_found`, `permission_denied`, `insufficient_nodes`.
    """
    with core.database.read() as session:
        environment, project = access.load(session, Environment, environment_id, actor)
        nodes = install_spec.nodes_of(session, environment_id)
    access.require(core, actor, Permission.ENVIRONMENT_READ, project, about=("environment", environment_id))
    install_spec.require_nodes(environment, nodes)
    with core.database.write() as session:
        job = jobs.add(
            session,
            core.clock.now(),
            kind="environment_health",
            resource=("environment", environment_id),
            project_id=project.id,
            request_id=actor.request_id,
        )
    core.queue.wake(job.id)
    return views.job(job)


class EnvironmentHealthJob(Look):
    """See `job_kind.JobKind`. Nothing that it does lasts."""

    def begin(self) -> PlaybookRun | None:
        """Say what to run."""
        with self._core.database.read() as session:
            environment = session.get_one(Environment, self._lease.resource_id)
            nodes = install_spec.nodes_of(session, environment.id)
            place = run_place.of_nodes(self._core, session, nodes)
            spec = install_spec.of_environment(self._core, session, environment, nodes)
        self._hosts = place.hosts
        return PlaybookRun(
            job_id=self._lease.job_id,
            playbook=PLAYBOOK,
            hosts=list(place.hosts.values()),
            group=place.group,
            documents={"environment_spec_file": spec},
            timeout=TIMEOUT_SECONDS,
        )

    def end(self, outcome: RunOutcome) -> PlaybookRun | None:
        """Keep what was found of each host, and say whether the environment is ready, failed or offline."""
        reached = self._unreached()
        found = {name: self._of_host(name, outcome, reached) for name in self._hosts}
        is_well = outcome.status == "successful" and all(one["healthy"] for one in found.values())
        status = "ready" if is_well else "offline" if len(reached) == len(self._hosts) else "failed"
        now = self._core.clock.now()
        with self._core.database.write() as session:
            job = jobs.fenced(session, self._lease)
            environment = session.get_one(Environment, self._lease.resource_id, with_for_update=True)
            project = session.get_one(Project, environment.project_id)
            environment.health = {"hosts": found, "healthy": is_well}
            environment.health_at = now
            if environment.status in _JUDGED:
                environment.status = status
            jobs.finish(job, now, "succeeded" if is_well else "failed")
            told = NewEvent(
                "environment.health_checked",
                "environment",
                environment.id,
                status="success" if is_well else "failed",
                project_id=project.id,
                team_id=project.team_id,
                environment_id=environment.id,
                detail={
                    "status": status,
                    "unhealthy": sorted(name for name, one in found.items() if not one["healthy"]),
                },
            )
            events.append(session, self._lease.actor, now, [told])
        return None

    def _of_host(
        self, name: str, outcome: RunOutcome, reached: Mapping[str, tuple[str, str]]
    ) -> dict[str, Any]:
        if name in reached:
            return {"healthy": False, "error_key": reached[name][0], "detail": reached[name][1], "checks": []}
        document = outcome.results.get(f"{name}.health")
        document = document if isinstance(document, Mapping) else {}
        failure = self._findings.failures.get(name)
        key = (failure or {}).get("error_key") or document.get("error_key")
        is_well = bool(document) and failure is None and not key
        said = (failure or {}).get("msg") or ("" if is_well else "nothing was heard of it")
        return {
            "healthy": is_well,
            "error_key": key or (None if is_well else "internal_error"),
            "detail": str(said),
            "checks": list(document.get("checks") or []),
        }

    def refuse(self, error_key: str, detail: str) -> None:
        """End the job; the environment keeps what was known of it."""
        with self._core.database.write() as session:
            job = jobs.fenced(session, self._lease)
            jobs.finish(job, self._core.clock.now(), "failed", {"error_key": error_key, "detail": detail})
