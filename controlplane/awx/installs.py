# SPDX-License-Identifier: Apache-2.0
"""Templates and jobs that are about installs of environments."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import case
from sqlalchemy.orm import Session

from controlplane.awx import extra_vars
from controlplane.awx.about import Asked, Previewed, Template
from controlplane.domain import preview as previews_rules
from controlplane.domain.errors import Problem
from controlplane.domain.install import TaskState
from controlplane.domain.permission import Actor, Permission
from controlplane.services import access, installs, tasks
from controlplane.services.core import Beside, Core
from controlplane.store.tables import AwxJob, InstallTask, Project

# As the API has it.
MOST_INPUTS, LONGEST = 100, 64
ASKED: Mapping[str, tuple[str, str]] = {
    "profile": ("text", "The bundle's profile; the bundle's own choice where it is left out."),
    "runtime_version": ("text", "The version of the runtime; the bundle's newest where it is left out."),
    "inputs": ("textarea", "What the bundle's steps ask for, a mapping as JSON or YAML."),
}
_domain = InstallTask.diagnostics["failure_domain"].as_string()
# A retried one has none: what was rolled back without any was done before.
_has_failed = (InstallTask.state == TaskState.FAILED) | (
    (InstallTask.state == TaskState.ROLLED_BACK) & _domain.is_not(None)
)
_was_never_applied = InstallTask.preview_used_at.is_(None)

# The one place where a task's state becomes a job's status.
STATUS = case(
    ((AwxJob.asking == "canceled") & _was_never_applied, "canceled"),
    ((AwxJob.asking == "refused") & _was_never_applied, "failed"),
    (_has_failed & (_domain == "cancelled"), "canceled"),
    (_has_failed & _domain.in_(("internal", "lost")), "error"),
    (_has_failed, "failed"),
    (InstallTask.state.in_((TaskState.SUCCEEDED, TaskState.ROLLED_BACK)), "successful"),
    (InstallTask.status == "cancelled", "canceled"),
    (InstallTask.state == TaskState.CANCELLED, "failed"),
    (InstallTask.state == TaskState.RUNNING, "running"),
    (InstallTask.status == "queued", "waiting"),
    else_="pending",
)


class Installs:
    """See `about.About`."""

    column = "task_id"
    permission = Permission.ENVIRONMENT_INSTALL
    read = Permission.ENVIRONMENT_READ
    see: tuple[Permission, ...] = (Permission.ENVIRONMENT_READ,)
    has_versions = False
    whole = "an install goes to all nodes of its environment"
    survey = "What an install of the environment may be told; what is left out is the bundle's to say."

    def questions(self, session: Session, template: Template) -> list[dict[str, Any]]:
        """Ask for what the API takes; nothing of it is needed."""
        return [
            {
                "variable": name, "question_name": name, "question_description": about, "type": kind,
                "required": False, "default": "", "choices": [], "min": None, "max": None,
            }
            for name, (kind, about) in ASKED.items()
        ]  # fmt: skip

    def secrets(self, session: Session, template: Template) -> set[str]:
        """Return the inputs: nobody here knows which of them are secret."""
        return {"inputs"}

    def require(self, core: Core, actor: Actor, template: Template) -> None:
        """Let pass who may install environments of the project."""
        with core.database.read() as session:
            project = session.get_one(Project, template.project_id)
        about = ("environment", template.environment_id)
        access.require(core, actor, self.permission, project, about=about)

    def check(self, core: Core, actor: Actor, template: Template, asked: Asked) -> None:
        """See `installs.check`."""
        _request(asked)
        installs.check(core, actor, template.environment_id)

    def begin(self, core: Core, actor: Actor, template: Template, asked: Asked, beside: Beside) -> None:
        """See `installs.request_preview`."""
        installs.request_preview(core, actor, template.environment_id, _request(asked), beside)

    def previewed(self, session: Session, id_: str) -> Previewed:
        """Return how a task's preview stands."""
        task = session.get_one(InstallTask, id_)
        is_open = task.state == TaskState.PENDING and task.preview_used_at is None
        return Previewed(
            id_, str(task.environment_id), is_open, task.preview_ref,
            previews_rules.told_against(task.preview), task.request_id,
        )  # fmt: skip

    def is_used(self, session: Session, id_: str) -> bool:
        """Say whether the install was asked for."""
        return session.get_one(InstallTask, id_).preview_used_at is not None

    def apply(self, core: Core, actor: Actor, found: Previewed) -> None:
        """See `installs.apply`."""
        installs.apply(core, actor, found.owner_id, found.preview_ref)

    def require_cancel(self, core: Core, actor: Actor, row: Any) -> None:
        """Let pass who may install such an environment."""
        task = row.InstallTask
        with core.database.read() as session:
            project = session.get_one(Project, task.project_id)
        access.require(core, actor, self.permission, project, about=(task.resource_type, task.id))

    def drop(self, core: Core, actor: Actor, row: Any) -> None:
        """End the task: one that waits would keep its environment from being deleted."""
        try:
            self.cancel(core, actor, row)
        except Problem as problem:
            # It has expired in between.
            if problem.error_key != "conflict":
                raise

    def cancel(self, core: Core, actor: Actor, row: Any) -> None:
        """See `installs.cancel`."""
        installs.cancel(core, actor, row.InstallTask.id, row.InstallTask.environment_id)

    def again(self, core: Core, row: Any) -> Asked:
        """Return the same request."""
        asked = tasks.requested(core, row.InstallTask)
        return Asked({name: asked[name] for name in ASKED if asked.get(name)})

    def named(self, row: Any) -> dict[str, Any]:
        """Return the id; an install has no version of its own."""
        return {"version": "", "task_id": row.InstallTask.id}

    def shown(self, row: Any) -> dict[str, Any]:
        """Return what was previewed of it. Inputs may be secret and are not shown."""
        task = row.InstallTask
        binding = (task.preview or {}).get("binding") or {}
        told = {name: binding[name] for name in ("profile", "runtime_version") if binding.get(name)}
        return {
            "scm_branch": "",
            "extra_vars": json.dumps(told),
            "artifacts": {
                "tidegate": {
                    "task_id": task.id,
                    "environment_id": task.environment_id,
                    "lifecycle_state": task.state,
                    "preview_digest": task.preview_digest,
                    "approval_ticket": task.ticket_id,
                }
            },
        }

    def explanation(self, row: Any) -> str | None:
        """Say what only a task waits for, or ends with."""
        task = row.InstallTask
        if task.status in ("previewing", "previewed", "preview_failed"):
            return "waits for its preview"
        if task.status == "expired":
            if task.ticket_id:
                return f"expired: nobody decided ticket {task.ticket_id} in time"
            return "expired: its preview was not applied in time"
        return None


def _request(asked: Asked) -> dict[str, Any]:
    """Return what a preview is asked for. Raises Problem `validation_error`, by name."""
    errors = {
        f"variables.{name[:80]}": [f"unknown; an install takes {', '.join(ASKED)}"]
        for name in asked.variables
        if name not in ASKED
    }
    if asked.version is not None:
        errors["scm_branch"] = ["an install has no version; runtime_version says which runtime"]
    for name in ("profile", "runtime_version"):
        value = asked.variables.get(name) or ""
        if not isinstance(value, str) or len(value) > LONGEST:
            errors[f"variables.{name}"] = [f"must be a text of at most {LONGEST} characters"]
    inputs = extra_vars.read(asked.variables.get("inputs"), "variables.inputs")
    if len(inputs) > MOST_INPUTS or not all(
        isinstance(key, str) and 1 <= len(key) <= LONGEST for key in inputs
    ):
        errors["variables.inputs"] = [
            f"must be a mapping of at most {MOST_INPUTS} names of at most {LONGEST} characters"
        ]
    if errors:
        raise Problem("validation_error", errors=errors)
    return {
        **{name: asked.variables.get(name) or None for name in ("profile", "runtime_version")},
        "inputs": inputs,
    }
