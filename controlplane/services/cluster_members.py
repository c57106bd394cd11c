# SPDX-License-Identifier: Apache-2.0
"""Which hosts are nodes of the cluster that an environment's installs made: they leave it by a task alone."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.orm import Session

from controlplane.domain.install import JOINING, TaskState
from controlplane.store.tables import InstallStep, InstallTask

_FIRST = "control_plane_init"


def of(session: Session, environment_id: str) -> list[dict[str, str]]:
    """Return the members, `[{host_id, name, role}]`: first the control plane that the cluster began with."""
    found: dict[str, dict[str, str]] = {}
    first = ""
    is_installed = False
    for task in _begun(session, environment_id):
        if task.state == TaskState.ROLLED_BACK:
            # It took its own work away; all of it where nothing was there before.
            if not is_installed:
                found, first = {}, ""
        elif task.kind == "removal" and task.state == TaskState.SUCCEEDED:
            found = {key: node for key, node in found.items() if key not in removed_by(task)}
        elif task.kind == "install":
            is_installed = is_installed or task.state == TaskState.SUCCEEDED
            steps = _joining(session, task.id)
            found.update({node["host_id"]: node for node in task.nodes if steps.get(node["name"])})
            first = first or next(
                (node["host_id"] for node in task.nodes if _FIRST in steps.get(node["name"], ())), ""
            )
    return sorted(found.values(), key=lambda node: (node["host_id"] != first, node["name"]))


def removed_by(task: InstallTask) -> list[str]:
    """Return the ids of the hosts that a removal takes out."""
    return list(((task.preview or {}).get("binding") or {}).get("removes") or [])


def removed_since(session: Session, task: InstallTask, but: Collection[str]) -> set[str]:
    """Return the ids of the hosts that left since a task began, without those that came back (`but`)."""
    later = [one for one in _begun(session, task.environment_id or "") if _is_removal_after(one, task)]
    return {host_id for one in later for host_id in removed_by(one)} - set(but)


def _is_removal_after(one: InstallTask, task: InstallTask) -> bool:
    return (
        (one.kind, one.state) == ("removal", TaskState.SUCCEEDED)
        and one.started_at is not None
        and task.started_at is not None
        and one.started_at > task.started_at
    )


def _begun(session: Session, environment_id: str) -> list[InstallTask]:
    query = select(InstallTask).where(
        InstallTask.subject == "install",
        InstallTask.environment_id == environment_id,
        InstallTask.kind.in_(("install", "removal")),
        InstallTask.started_at.is_not(None),
    )
    return list(session.scalars(query.order_by(InstallTask.started_at, InstallTask.id)))


def _joining(session: Session, task_id: str) -> dict[str, set[str]]:
    """Return by host the steps of a task that make a member of it: one that failed may have."""
    rows = session.execute(
        select(InstallStep.host, InstallStep.step).where(
            InstallStep.task_id == task_id, InstallStep.step.in_(JOINING)
        )
    )
    found: dict[str, set[str]] = {}
    for host, step in rows:
        found.setdefault(host, set()).add(step)
    return found
