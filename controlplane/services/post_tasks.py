# SPDX-License-Identifier: Apache-2.0
"""What follows an install by itself: the virtual IP that was asked for with its cluster. DESIGN section 7.

The install is done when the cluster is: what follows it is a task of its own, with a preview, a gate and retries of
its own, and whatever becomes of it leaves the cluster as it is.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from controlplane.domain import network_entry as rules
from controlplane.domain.errors import Problem
from controlplane.domain.permission import Actor, system_actor
from controlplane.services import access, network_entries, network_entry_spec, tasks, timeline
from controlplane.services.core import Core
from controlplane.services.network_entries import SUBJECT, Place
from controlplane.store import events
from controlplane.store.events import NewEvent
from controlplane.store.tables import Cluster, Environment, InstallTask, NetworkEntry, Project

SOURCE = "scheduler"
BATCH = 20
log = logging.getLogger(__name__)


def planned(
    session: Session, environment: Environment, asked: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    """Return what is kept of a network entry that was asked for with a cluster; None where none was.

    Args:
        asked: `mode` (`none`, `lvs_vip`), `lvs_vip`, `cluster_networks`.

    Raises:
        Problem: `validation_error`, `vip_conflict`, `backend_nodes_invalid`.
    """
    if not asked or asked.get("mode", "none") == "none":
        return None
    if environment.runtime_type != "k8s":
        raise Problem("validation_error", errors={"network_entry": ["is for clusters only"]})
    cluster = _cluster_of(session, environment.id)
    place = Place(environment.project_id, environment.id, cluster.id if cluster else None)
    network_entries.of_apply(session, place, asked)
    return {name: asked.get(name) for name in ("mode", "lvs_vip", "cluster_networks")}


def shown(asked: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return it as it may be shown."""
    if not asked:
        return {"mode": "none"}
    return {"mode": asked["mode"], "lvs_vip": rules.shown(asked["lvs_vip"])}


def follow(core: Core, session: Session, install: InstallTask, cluster: Cluster) -> list[NewEvent]:
    """Queue the preview of what was asked for with a cluster, in the transaction that says that there is one."""
    asked = tasks.requested(core, install).get("network_entry")
    if not asked:
        return []
    try:
        request, nodes = network_entries.of_apply(session, Place.of(cluster), asked)
    except Problem as problem:
        # Its hosts are others now. The cluster is there all the same.
        said = {"error_key": problem.error_key, "summary": problem.detail, "follows": install.id}
        return [timeline.task_event(install, "post_task_refused", "warning", **said)]
    entry = session.get(NetworkEntry, cluster.id)
    is_same = entry is not None and entry.is_applied and entry.parameters == rules.shown(request["lvs_vip"])
    # A node that could not be led to the VIP then is led there now.
    if entry is not None and is_same and not network_entry_spec.not_led(session, entry):
        return []
    by = Actor(
        id=install.created_by, name=install.created_by_name, source=SOURCE, request_id=install.request_id
    )
    task, _job = tasks.add_preview(
        core, session, by, SUBJECT.name, session.get_one(Project, install.project_id),
        kind="apply", nodes=nodes, request=request, cluster_id=cluster.id, cluster_name=cluster.name,
        environment_id=cluster.environment_id, stage=network_entries.stage_of(session, cluster),
        runtime_type="k8s", follows=install.id,
    )  # fmt: skip
    return [timeline.task_event(install, "post_task_queued", task=task.id, type="lvs_vip")]


def apply_previewed(core: Core) -> int:
    """Apply what followed by itself and is previewed, once, as who had the install applied; return how many.

    Policy is asked as always: where it wants a decision, a ticket waits for it.
    """
    due = select(InstallTask.id).where(
        InstallTask.follows.is_not(None),
        InstallTask.status == "previewed",
        InstallTask.follow_asked_at.is_(None),
    )
    with core.database.read() as session:
        ids = list(session.scalars(due.limit(BATCH)))
    return sum(_apply(core, task_id) for task_id in ids)


def _apply(core: Core, task_id: str) -> bool:
    now = core.clock.now()
    with core.database.write() as session:
        task = session.get_one(InstallTask, task_id, with_for_update=True)
        if task.follow_asked_at is not None:
            return False
        task.follow_asked_at = now
        install = session.get_one(InstallTask, task.follows)
        actor = access.actor_of(session, install.applied_by or install.created_by)
    try:
        if actor is None:
            raise Problem("permission_denied", "who had the cluster made is no user any more")
        by = replace(access.through(actor, SOURCE), request_id=task.request_id)
        tasks.apply(core, by, SUBJECT, str(task.cluster_id), task.preview_ref, "apply")
    except Problem as problem:
        # It stays previewed: whoever may can apply it until it expires.
        log.warning("what follows an install is not applied", extra={"task": task_id, "why": problem.detail})
        with core.database.write() as session:
            told = timeline.task_event(
                session.get_one(InstallTask, task_id), "post_task_refused", "warning",
                error_key=problem.error_key, summary=problem.detail, follows=task.follows,
            )  # fmt: skip
            events.append(session, system_actor(SOURCE), now, [told])
        return False
    return True


def _cluster_of(session: Session, environment_id: str) -> Cluster | None:
    return session.scalar(select(Cluster).where(Cluster.environment_id == environment_id))
