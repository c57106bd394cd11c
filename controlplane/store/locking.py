# SPDX-License-Identifier: Apache-2.0
"""The one order in which rows are locked, so that no two transactions ever wait for each other in a circle.

First what the work is about: the owner of a task (environment or cluster), then the task or release itself. Under
that lock its ticket and its jobs are changed. Then what the work is done to (target, network entry). Last, with the
events, the head of the stream. A ticket or a job that is locked without what it is about (a heartbeat, a claim, an
assignment, a look at an inbox) is locked alone, with nothing after it but the head.

On SQLite a transaction that writes has the whole database, and all of this asks nothing.
"""

from __future__ import annotations

from sqlalchemy.orm import Session

from controlplane.store.tables import Cluster, Environment, InstallTask, Release


def release(session: Session, release_id: str) -> Release:
    """Return a release, locked and as it is now. Raises sqlalchemy.exc.NoResultFound."""
    return session.get_one(Release, release_id, with_for_update=True)


def task(session: Session, task_id: str) -> InstallTask:
    """Return a task, locked after its owner and as it is now. Raises sqlalchemy.exc.NoResultFound."""
    # Whose a task is never changes, so it may be read before the lock.
    found = session.get_one(InstallTask, task_id)
    if found.environment_id is not None:
        session.get(Environment, found.environment_id, with_for_update=True)
    if found.cluster_id is not None:
        session.get(Cluster, found.cluster_id, with_for_update=True)
    return session.get_one(InstallTask, task_id, with_for_update=True)


def subject_of_job(session: Session, resource_type: str, resource_id: str) -> None:
    """Lock what a job is about, where that is a release or a task; a job about anything else is locked alone."""
    if resource_type == "release":
        session.get(Release, resource_id, with_for_update=True)
    elif resource_type.endswith("_task"):
        task(session, resource_id)
