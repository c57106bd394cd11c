# SPDX-License-Identifier: Apache-2.0
"""Templates and jobs that are about releases of a service to a target."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import case, select
from sqlalchemy.orm import Session

from controlplane.awx.about import MASK, Asked, Previewed, Template
from controlplane.domain import preview as previews_rules
from controlplane.domain.permission import Actor, Permission, runtime_permission
from controlplane.domain.release import State
from controlplane.services import access, previews, releases
from controlplane.services.core import Beside, Core
from controlplane.store.tables import AwxJob, Project, Release, ServiceVersion, Target, VariableValue

# AWX's words for a survey's questions.
_QUESTIONS = {"string": "text", "integer": "integer", "number": "float", "boolean": "multiplechoice"}
_domain = Release.diagnostics["failure_domain"].as_string()
_has_failed = Release.state == State.FAILED
# Whoever applied its preview through another door after all: then it is what the release is.
_was_never_applied = Release.state.in_((State.PREVIEW, State.EXPIRED))

# The one place where a release's state becomes a job's status.
STATUS = case(
    ((AwxJob.asking == "canceled") & _was_never_applied, "canceled"),
    ((AwxJob.asking == "refused") & _was_never_applied, "failed"),
    (Release.state.in_((State.APPLIED, State.ROLLBACK, "succeeded", "rolled_back")), "successful"),
    (Release.state == State.CANCELLED, "canceled"),
    (_has_failed & (_domain == "cancelled"), "canceled"),
    (_has_failed & _domain.in_(("internal", "lost")), "error"),
    (Release.state.in_((State.FAILED, State.REJECTED, State.EXPIRED)), "failed"),
    (Release.state == State.APPLYING, "running"),
    (Release.status == "waiting_lock", "pending"),
    (Release.state == State.APPROVED, "waiting"),
    else_="pending",
)


class Releases:
    """See `about.About`."""

    column = "release_id"
    permission = Permission.RELEASE_APPLY
    read = Permission.RELEASE_READ
    see: tuple[Permission, ...] = (Permission.RELEASE_READ, Permission.TARGET_READ)
    has_versions = True
    whole = "a release goes to all hosts of its target; make a target of fewer hosts"
    survey = "The variables of the newest version of the service."

    def questions(self, session: Session, template: Template) -> list[dict[str, Any]]:
        """Make a question of each of the service's variables."""
        newest = (
            select(ServiceVersion.variable_schema)
            .where(ServiceVersion.service_id == template.service_id)
            .order_by(ServiceVersion.number.desc())
            .limit(1)
        )
        kept = _kept_names(session, template)
        schema: Mapping[str, Any] = session.scalar(newest) or {}
        return [_question(name, rule, name in kept) for name, rule in schema.items()]

    def secrets(self, session: Session, template: Template) -> set[str]:
        """Return what any version of the service calls secret."""
        schemas = session.scalars(
            select(ServiceVersion.variable_schema).where(ServiceVersion.service_id == template.service_id)
        )
        return {name for schema in schemas for name, rule in schema.items() if rule.get("secret")}

    def require(self, core: Core, actor: Actor, template: Template) -> None:
        """Let pass who may apply releases in the project."""
        with core.database.read() as session:
            project = session.get_one(Project, template.project_id)
        about = ("target", str(template.target_id))
        access.require(core, actor, Permission.RELEASE_APPLY, project, about=about)

    def check(self, core: Core, actor: Actor, template: Template, asked: Asked) -> None:
        """See `previews.check`."""
        previews.check(core, actor, _request(template, asked))

    def begin(self, core: Core, actor: Actor, template: Template, asked: Asked, beside: Beside) -> None:
        """See `previews.request`."""
        previews.request(core, actor, _request(template, asked), beside)

    def previewed(self, session: Session, id_: str) -> Previewed:
        """Return how a release's preview stands."""
        release = session.get_one(Release, id_)
        return Previewed(
            id_, release.target_id, release.state == State.PREVIEW, release.preview_ref,
            previews_rules.told_against(release.preview), release.request_id,
        )  # fmt: skip

    def is_used(self, session: Session, id_: str) -> bool:
        """Say whether the release was asked for."""
        return session.get_one(Release, id_).preview_used_at is not None

    def apply(self, core: Core, actor: Actor, found: Previewed) -> None:
        """See `releases.apply`."""
        releases.apply(core, actor, found.preview_ref, {})

    def require_cancel(self, core: Core, actor: Actor, row: Any) -> None:
        """Let pass who may apply such a release."""
        with core.database.read() as session:
            project = session.get_one(Project, row.Release.project_id)
        for permission in (Permission.RELEASE_APPLY, runtime_permission(row.Release.runtime_type, "apply")):
            access.require(core, actor, permission, project, about=("release", row.Release.id))

    def drop(self, core: Core, actor: Actor, row: Any) -> None:
        """Leave the preview to expire: somebody may apply it through another door still."""

    def cancel(self, core: Core, actor: Actor, row: Any) -> None:
        """See `releases.cancel`."""
        releases.cancel(core, actor, row.Release.id)

    def again(self, core: Core, row: Any) -> Asked:
        """Return the same version with the same values and strategy."""
        release = row.Release
        with core.database.read() as session:
            cipher = session.scalar(select(Release.inputs_cipher).where(Release.id == release.id))
        inputs = json.loads(core.vault.decrypt(cipher)) if cipher else {}
        variables = inputs.get("requested", {}).get("variables") or {}
        return Asked(variables, release.service_version, release.strategy, release.strategy_params)

    def named(self, row: Any) -> dict[str, Any]:
        """Return version and id."""
        return {"version": row.Release.service_version, "release_id": row.Release.id}

    def shown(self, row: Any) -> dict[str, Any]:
        """Return the version, the values and what the release is."""
        release = row.Release
        return {
            "scm_branch": release.service_version,
            "extra_vars": json.dumps({name: _masked(value) for name, value in release.variables.items()}),
            "artifacts": {
                "tidegate": {
                    "release_id": release.id,
                    "lifecycle_state": release.state,
                    "preview_digest": release.preview_digest,
                    "approval_ticket": release.ticket_id,
                }
            },
        }

    def explanation(self, row: Any) -> str | None:
        """Say what only a release waits for, or ends with."""
        release = row.Release
        if release.state == State.PREVIEW:
            return "waits for its preview"
        if release.status == "paused":
            return "is paused: promote or abort the release to go on"
        if release.state == State.EXPIRED:
            why = (release.diagnostics or {}).get("summary")
            return f"expired: {why or 'nobody decided in time, or the target moved since the preview'}"
        return None


def _request(template: Template, asked: Asked) -> dict[str, Any]:
    return {
        "target_id": template.target_id,
        "service": template.service_id,
        "version": asked.version,
        "strategy": asked.strategy,
        "strategy_params": asked.strategy_params,
        "variables": dict(asked.variables),
    }


def _masked(value: Any) -> Any:
    return MASK if isinstance(value, str) and value.startswith("hmac:") else value


def _question(name: str, rule: Mapping[str, Any], is_kept: bool) -> dict[str, Any]:
    kind = _QUESTIONS[rule.get("type", "string")]
    choices = [str(value) for value in rule.get("enum") or ()]
    if rule.get("type") == "boolean":
        choices = ["true", "false"]
    if rule.get("secret"):
        kind = "password"
    elif choices:
        kind = "multiplechoice"
    default = "" if rule.get("secret") else rule.get("default")
    return {
        "variable": name,
        "question_name": name,
        "question_description": str(rule.get("description") or ""),
        "type": kind,
        "required": bool(rule.get("required")) and rule.get("default") is None and not is_kept,
        "default": "" if default is None else default,
        "choices": choices,
        "min": rule.get("minimum"),
        "max": rule.get("maximum"),
    }


def _kept_names(session: Session, template: Template) -> set[str]:
    """Return the variables that have a value on the target or its environment already."""
    target = session.get_one(Target, template.target_id)
    rows = select(VariableValue.name).where(
        VariableValue.service_id == template.service_id,
        VariableValue.scope_id.in_((target.id, target.environment_id)),
    )
    return set(session.scalars(rows))
