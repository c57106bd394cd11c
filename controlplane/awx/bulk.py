# SPDX-License-Identifier: Apache-2.0
"""Several templates launched at once, each through its own gate: to AWX's clients a workflow job of those jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, case, func, or_, select
from sqlalchemy.orm import Session

from controlplane.awx import jobs, kinds, launching, resources
from controlplane.awx.about import Asked, Template
from controlplane.awx.jobs import ENDED, FINISHED, STARTED, STATUS
from controlplane.awx.launching import Origin
from controlplane.awx.resource import Column, Resource
from controlplane.awx.resources import PREFIX
from controlplane.domain.permission import Actor
from controlplane.services import views
from controlplane.services.core import Core
from controlplane.store.tables import AwxBulk, AwxJob, InstallTask, Release

NAME = "Bulk Job Launch"
FILTER = "unified_job_node__workflow_job"


def _its(query: Select[Any]) -> Select[Any]:
    """Narrow a query of jobs to those of one launch; those that are gone with their environment are none of it."""
    return (
        jobs.joined(query.select_from(AwxJob))
        .where(AwxJob.bulk_id == AwxBulk.id, or_(Release.id.is_not(None), InstallTask.id.is_not(None)))
        .correlate(AwxBulk)
    )


def _count(condition: Any) -> Any:
    return _its(select(func.sum(case((condition, 1), else_=0)))).scalar_subquery()


_has_begun = _its(select(func.min(STARTED))).scalar_subquery()
_STATUSES = ("pending", "running", "successful", "failed", "canceled")
_GROUP_STATUS = case(
    ((_count(STATUS.not_in(ENDED)) > 0) & _has_begun.is_not(None), "running"),
    (_count(STATUS.not_in(ENDED)) > 0, "pending"),
    (_count(STATUS.in_(("failed", "error"))) > 0, "failed"),
    (_count(STATUS == "canceled") > 0, "canceled"),
    else_="successful",
)


def _rows() -> Select[Any]:
    last = _its(select(func.max(FINISHED))).scalar_subquery()
    return resources.rows(
        AwxBulk, _GROUP_STATUS.label("status"), _has_begun.label("started"), last.label("finished")
    )


def _select(actor: Actor) -> Select[Any]:
    return _rows().where(jobs.visible(_its(select(AwxJob.id)), actor).exists())


def _show(row: Any) -> dict[str, Any]:
    group = row.AwxBulk
    finished = row.finished if row.status in ENDED else None
    elapsed = jobs.seconds(row.started, finished or datetime.now(tz=group.created_at.tzinfo))
    return resources.document(
        "workflow_job", "workflow_jobs", group.id, group.name, group.created_at, modified=finished or row.started,
        related={
            "jobs": f"{PREFIX}/unified_jobs/?{FILTER}={group.id}",
            "cancel": f"{PREFIX}/workflow_jobs/{group.id}/cancel/",
        },
        summary={"created_by": {"username": group.user_name}},
        status=row.status, failed=row.status in ("failed", "canceled"), started=views.moment(row.started),
        finished=views.moment(finished), elapsed=elapsed, launch_type="manual", job_explanation="", is_bulk_job=True,
    )  # fmt: skip


WORKFLOW_JOBS = Resource(
    path="workflow_jobs", type="workflow_job",
    about="Workflow jobs: several templates that were launched at once. Each has its own gate; there is no order.",
    permissions=kinds.READ, pk=AwxBulk.id,
    columns=resources.columns(
        AwxBulk.id, AwxBulk.name, AwxBulk.created_at,
        status=Column(
            _GROUP_STATUS, "choice", "How its jobs stand together.", _STATUSES
        ),
    ),
    select=_select, show=_show,
    fields={
        **resources.COMMON,
        "failed": ("boolean", "Whether all have ended, and one of them not well."),
        "started": ("datetime", "When the first of them began to change something."),
        "finished": ("datetime", "When the last of them ended."),
        "elapsed": ("decimal", "Seconds since the first of them started."),
        "launch_type": ("string", "Always manual."),
        "job_explanation": ("string", "Always empty: each job has its own."),
        "is_bulk_job": ("boolean", "Always true."),
    },
)  # fmt: skip


def launch(
    core: Core,
    actor: Actor,
    name: str,
    wanted: Sequence[tuple[Template, Asked]],
    key: Callable[[int], str | None],
) -> tuple[int, list[int]]:
    """Launch each and return the number of the whole and those of the jobs.

    Args:
        key: what makes the launch of each of them, sent again, the same job; then it is the same whole too.

    Raises:
        Problem: as `launching.launch`.
    """
    group = AwxBulk(name=name, user_name=actor.name, created_at=core.clock.now())

    def begin(session: Session, job: AwxJob) -> None:
        session.add(group)
        session.flush()
        job.bulk_id = group.id

    (template, asked), *others = wanted
    launched = [launching.launch(core, actor, template, asked, Origin(request_key=key(0), also=begin))]
    with core.database.read() as session:
        number = session.get_one(AwxJob, launched[0]).bulk_id
    assert number is not None

    def join(_session: Session, job: AwxJob) -> None:
        job.bulk_id = number

    for part, (template, asked) in enumerate(others, 1):
        origin = Origin(request_key=key(part), also=join)
        launched.append(launching.launch(core, actor, template, asked, origin))
    return number, launched


def shown(core: Core, number: int) -> dict[str, Any]:
    """Return the whole to who just launched it."""
    with core.database.read() as session:
        return _show(session.execute(_rows().where(AwxBulk.id == number)).one())


def open_jobs(core: Core, actor: Actor, number: int) -> list[int]:
    """Return the numbers of its jobs that have not ended and that the actor may see."""
    query = jobs.visible(jobs.joined(select(AwxJob.id)), actor)
    with core.database.read() as session:
        return list(
            session.scalars(query.where(AwxJob.bulk_id == number, STATUS.not_in(ENDED)).order_by(AwxJob.id))
        )
