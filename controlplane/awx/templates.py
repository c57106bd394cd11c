# SPDX-License-Identifier: Apache-2.0
"""Job templates: each service on each target of its project that it can be released to, named
`project / service / target`. They are not kept anywhere, so they are always in step with what there is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session, aliased

from controlplane.awx import resource, resources
from controlplane.awx.resource import Column, Resource, field
from controlplane.awx.resources import PREFIX, InventoryId, OrganizationId, ProjectId, number_of, summary
from controlplane.domain.permission import Actor, Permission
from controlplane.services import access
from controlplane.services.core import Core
from controlplane.store.tables import (
    AwxId,
    Environment,
    Project,
    Service,
    ServiceVersion,
    Target,
    VariableValue,
)

TemplateId = aliased(AwxId)
NAME = Project.name + " / " + Service.name + " / " + Target.name
# AWX's words for a survey's questions.
_QUESTIONS = {"string": "text", "integer": "integer", "number": "float", "boolean": "multiplechoice"}

LAUNCH_FIELDS: Mapping[str, Mapping[str, Any]] = {
    "extra_vars": field("json", "Values of the service's variables, as JSON or YAML.", default={}),
    "scm_branch": field("string", "The version of the service; the newest where it is left out."),
    "job_type": field("choice", "Only `run`: each launch is previewed anyway.", choices=[["run", "Run"]]),
}


@dataclass(frozen=True)
class Template:
    """A template that something is to be launched from."""

    id: int
    name: str
    service_id: str
    target_id: str
    project_id: str
    inventory: int | None

    @property
    def uid(self) -> str:
        """What the template is numbered by."""
        return f"{self.service_id}:{self.target_id}"


def _select(actor: Actor) -> Select[Any]:
    rows = (
        resources.rows(
            TemplateId.id.label("pk"), NAME.label("name"), Service, Target, Project, Environment,
            InventoryId.id.label("inventory"), ProjectId.id.label("project"),
            OrganizationId.id.label("organization"),
        )
        .select_from(Service)
        .join(Target, (Target.project_id == Service.project_id) & (Target.runtime_type == Service.runtime_type))
        .join(Project, Project.id == Service.project_id)
        .join(Environment, Environment.id == Target.environment_id)
        .join(TemplateId, number_of(TemplateId, "job_template", Service.id + ":" + Target.id))
        .outerjoin(InventoryId, number_of(InventoryId, "inventory", Environment.id))
        .outerjoin(ProjectId, number_of(ProjectId, "project", Project.id))
        .outerjoin(OrganizationId, number_of(OrganizationId, "organization", Project.team_id))
    )  # fmt: skip
    rows = access.visible(rows, actor, Permission.RELEASE_READ, Service.project_id)
    return access.visible(rows, actor, Permission.TARGET_READ, Target.project_id)


def _show(row: Any) -> dict[str, Any]:
    here = f"{PREFIX}/job_templates/{row.pk}"
    return resources.document(
        "job_template", "job_templates", row.pk, row.name, max(row.Service.created_at, row.Target.created_at),
        description=f"{row.Environment.stage}, {row.Service.runtime_type}",
        related={
            "launch": f"{here}/launch/",
            "survey_spec": f"{here}/survey_spec/",
            "schedules": f"{here}/schedules/",
            "jobs": f"{here}/jobs/",
            **{
                f"notification_templates_{event}": f"{here}/notification_templates_{event}/"
                for event in ("started", "success", "error")
            },
            "webhook_key": f"{here}/webhook_key/",
            "webhook_receiver_github": f"{here}/github/",
            "webhook_receiver_gitlab": f"{here}/gitlab/",
            "project": f"{PREFIX}/projects/{row.project}/",
            "inventory": f"{PREFIX}/inventories/{row.inventory}/",
        },
        summary={
            "project": summary(row.project, row.Project.name),
            "inventory": summary(row.inventory, f"{row.Project.name} / {row.Environment.name}"),
        },
        job_type="run", project=row.project, inventory=row.inventory, organization=row.organization,
        extra_vars="", limit="", job_tags="", skip_tags="",
    ) | ASKED  # fmt: skip


# What a launch asks for; the same of every template.
ASKED: dict[str, Any] = {
    "ask_variables_on_launch": True,
    "ask_scm_branch_on_launch": True,
    "survey_enabled": True,
    **{
        f"ask_{name}_on_launch": False
        for name in (
            "limit", "tags", "skip_tags", "job_type", "inventory", "credential", "verbosity", "diff_mode",
            "execution_environment", "labels", "forks", "job_slice_count", "timeout", "instance_groups",
        )
    },
}  # fmt: skip

JOB_TEMPLATES = Resource(
    path="job_templates", type="job_template",
    about="Job templates: each service on each target of its project, `project / service / target`.",
    permission=Permission.RELEASE_READ, pk=TemplateId.id,
    columns=resources.columns(
        TemplateId.id, NAME, Service.created_at,
        project=Column(ProjectId.id, "id", "The project of it."),
        project__name=Column(Project.name),
        inventory=Column(InventoryId.id, "id", "The environment of its target."),
        organization=Column(OrganizationId.id, "id", "The team that its project belongs to."),
    ),
    select=_select, show=_show, kinds=("organization", "project", "inventory", "job_template"),
    fields={
        **resources.COMMON,
        "ask_variables_on_launch": ("boolean", "Whether a launch takes extra_vars."),
        "ask_scm_branch_on_launch": ("boolean", "Whether a launch takes a version."),
        "survey_enabled": ("boolean", "Whether the service's variables are asked for as a survey."),
    },
)  # fmt: skip

# Clients that schedule look up by name here what they schedule.
UNIFIED_JOB_TEMPLATES = replace(
    JOB_TEMPLATES,
    path="unified_job_templates",
    about="Unified job templates: all of them are job templates here.",
)


def load(core: Core, actor: Actor, pk: str) -> Template:
    """Return a template to launch from. Raises Problem `not_found`, also where it is outside the actor's scope."""
    with core.database.read() as session:
        row = resource.row(session, actor, JOB_TEMPLATES, pk)
    return Template(row.pk, row.name, row.Service.id, row.Target.id, row.Project.id, row.inventory)


def launch_document(core: Core, actor: Actor, pk: str) -> dict[str, Any]:
    """Return what a launch asks for. Raises Problem `not_found`."""
    template = load(core, actor, pk)
    with core.database.read() as session:
        schema = _schema(session, template)
        kept = _kept_names(session, template)
    needed = [
        name
        for name, rule in schema.items()
        if rule.get("required") and rule.get("default") is None and name not in kept
    ]
    return {
        **ASKED,
        "can_start_without_user_input": not needed,
        "passwords_needed_to_start": [],
        "variables_needed_to_start": needed,
        "credential_needed_to_start": False,
        "inventory_needed_to_start": False,
        "job_template_data": {"id": template.id, "name": template.name, "description": ""},
        "defaults": {"extra_vars": "", "scm_branch": "", "inventory": summary(template.inventory, None)},
    }


def survey(core: Core, actor: Actor, pk: str) -> dict[str, Any]:
    """Return the service's variables as a survey. Raises Problem `not_found`."""
    template = load(core, actor, pk)
    with core.database.read() as session:
        schema = _schema(session, template)
        kept = _kept_names(session, template)
    return {
        "name": template.name,
        "description": "The variables of the newest version of the service.",
        "spec": [_question(name, rule, name in kept) for name, rule in schema.items()],
    }


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


def _schema(session: Session, template: Template) -> Mapping[str, Any]:
    newest = (
        select(ServiceVersion.variable_schema)
        .where(ServiceVersion.service_id == template.service_id)
        .order_by(ServiceVersion.number.desc())
        .limit(1)
    )
    return session.scalar(newest) or {}


def _kept_names(session: Session, template: Template) -> set[str]:
    """Return the variables that have a value on the target or its environment already."""
    target = session.get_one(Target, template.target_id)
    rows = select(VariableValue.name).where(
        VariableValue.service_id == template.service_id,
        VariableValue.scope_id.in_((target.id, target.environment_id)),
    )
    return set(session.scalars(rows))
