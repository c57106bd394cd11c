# SPDX-License-Identifier: Apache-2.0
"""Which templates and jobs are about what."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, and_, not_, or_

from controlplane.awx import resources
from controlplane.awx.about import About, Template
from controlplane.awx.installs import Installs
from controlplane.awx.releases import Releases
from controlplane.domain.permission import Actor
from controlplane.store.tables import AwxJob

RELEASES: About = Releases()
INSTALLS: About = Installs()
# One of these: which one it has to be, what is launched or read says.
LAUNCH = (RELEASES.permission, INSTALLS.permission)
READ = (RELEASES.read, INSTALLS.read)
SEE = (*READ, *LAUNCH)


def seen(actor: Actor, project_id: Any, is_release: Any) -> ColumnElement[bool]:
    """Return the condition that narrows templates, and what belongs to them, to those that the actor may read or
    launch: who may launch one has to find it by its name.
    """
    released, installed = (
        or_(
            resources.within(actor, project_id, *about.see),
            resources.within(actor, project_id, about.permission),
        )
        for about in (RELEASES, INSTALLS)
    )
    return or_(and_(is_release, released), and_(not_(is_release), installed))


def of_template(template: Template) -> About:
    """Return what a template launches."""
    return INSTALLS if template.target_id is None else RELEASES


def of_uid(uid: str | None) -> About:
    """Return what a template launches, or launched, that is numbered by this: an environment, or service and target."""
    return RELEASES if uid is None or ":" in uid else INSTALLS


def is_release(uid: Any) -> ColumnElement[bool]:
    """Return the condition that says of a column what `of_uid` says of a text."""
    found: ColumnElement[bool] = uid.contains(":")
    return found


def of_job(job: AwxJob) -> About:
    """Return what a job is about."""
    return RELEASES if job.task_id is None else INSTALLS


def id_of(job: AwxJob) -> str:
    """Return the id of the release or the task that a job is."""
    return str(job.release_id or job.task_id)
