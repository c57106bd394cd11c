# SPDX-License-Identifier: Apache-2.0
"""Which templates and jobs are about what."""

from __future__ import annotations

from controlplane.awx.about import About, Template
from controlplane.awx.installs import Installs
from controlplane.awx.releases import Releases
from controlplane.store.tables import AwxJob

RELEASES: About = Releases()
INSTALLS: About = Installs()


def of_template(template: Template) -> About:
    """Return what a template launches."""
    return INSTALLS if template.target_id is None else RELEASES


def of_uid(uid: str | None) -> About:
    """Return what a template launches, or launched, that is numbered by this: an environment, or service and target."""
    return RELEASES if uid is None or ":" in uid else INSTALLS


def of_job(job: AwxJob) -> About:
    """Return what a job is about."""
    return RELEASES if job.task_id is None else INSTALLS


def id_of(job: AwxJob) -> str:
    """Return the id of the release or the task that a job is."""
    return str(job.release_id or job.task_id)
