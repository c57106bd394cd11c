# SPDX-License-Identifier: Apache-2.0
"""A cluster that is to be made of hosts: its environment, and the preview of its install, asked for in one call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from controlplane.domain import install as rules
from controlplane.domain.errors import Problem
from controlplane.domain.permission import Actor, Permission
from controlplane.services import access, environments, installs
from controlplane.services.core import Core

_OF_ENVIRONMENT = ("project_id", "name", "stage", "nodes")
_OF_INSTALL = ("runtime_version", "profile", "inputs", "network_entry")


def order(core: Core, actor: Actor, given: Mapping[str, Any]) -> dict[str, Any]:
    """Make the environment and queue the preview: `{environment, install}`. The cluster is there, under the
    environment's name, once that preview was applied.

    Args:
        given: `project_id name stage nodes`, and as `installs.request_preview` has it `runtime_version profile inputs
            network_entry`.

    Raises:
        Problem: `not_found`, `permission_denied`, `conflict` (the name is taken), `node_role_invalid`,
            `insufficient_nodes`, and what `post_tasks.planned` raises. No environment is left then.
    """
    with core.database.read() as session:
        project = access.load_project(session, actor, given["project_id"])
    for permission in (Permission.CLUSTER_WRITE, Permission.ENVIRONMENT_INSTALL):
        access.require(core, actor, permission, project, about=("project", project.id))
    rules.check_nodes("k8s", (node.get("role") or "worker" for node in given["nodes"]))
    wanted = {name: given[name] for name in _OF_ENVIRONMENT}
    made = environments.create(core, actor, {**wanted, "runtime_type": "k8s", "mode": "platform_managed"})
    asked = {name: given.get(name) for name in _OF_INSTALL}
    try:
        task = installs.request_preview(core, actor, made["id"], asked)
    except Problem:
        # What stands against it could be told of an environment only.
        environments.delete(core, actor, made["id"])
        raise
    shown = installs.await_preview(core, actor, task["task_id"], 0)
    return {"environment": environments.get(core, actor, made["id"]), "install": shown}
