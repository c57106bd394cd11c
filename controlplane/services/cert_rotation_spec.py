# SPDX-License-Identifier: Apache-2.0
"""What the playbooks of certificates are told: the environment's document, for its control planes alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from controlplane.ports.runner import PlaybookRun
from controlplane.services import install_spec, run_place, tasks
from controlplane.services.core import Core
from controlplane.store.tables import Cluster, Environment, InstallTask

LIST, ROTATE = "certificates_list.yml", "certificates_rotate.yml"
# What the hosts' documents are called.
VERB = "certificates"


def of_task(core: Core, session: Session, task: InstallTask) -> dict[str, Any]:
    """Return what is said of a rotation beside its hosts."""
    return {
        "task_id": task.id,
        "holder": install_spec.holder_of(core, task),
        "certificates": {"within_days": tasks.requested(core, task)["within_days"]},
    }


def for_work(task: InstallTask, fencing_token: int) -> dict[str, Any]:
    """Return what a run that changes something is told beside: who holds the hosts, and what was seen there."""
    binding = (task.preview or {}).get("binding") or {}
    return {"fencing_token": fencing_token, "expect": {"fingerprints": binding.get("fingerprints", {})}}


def run(
    core: Core,
    session: Session,
    job_id: str,
    playbook: str,
    cluster: Cluster,
    nodes: Sequence[Mapping[str, str]],
    timeout: float,
    more: Mapping[str, Any],
) -> PlaybookRun:
    """Return the run of a playbook on control planes.

    Raises:
        Problem: `host_key_unconfirmed`.
    """
    place = run_place.of_nodes(core, session, nodes)
    environment = session.get_one(Environment, cluster.environment_id or "")
    document = {**install_spec.of_environment(core, session, environment, nodes), **more}
    return PlaybookRun(
        job_id=job_id,
        playbook=playbook,
        hosts=list(place.hosts.values()),
        group=place.group,
        documents={"environment_spec_file": document},
        timeout=timeout,
    )
