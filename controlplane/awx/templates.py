# SPDX-License-Identifier: Apache-2.0
"""Job templates: each service on each target of its project that it can be released to, `project / service / target`,
and the install of each environment that the platform manages, `project / environment / install`. They are not kept
anywhere, so they are always in step with what there is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, null, select, union_all
from sqlalchemy.orm import Session, aliased

from controlplane.awx import kinds, resource, resources
from controlplane.awx.about import Template
from controlplane.awx.resource import Column, Resource, field
from controlplane.awx.resources import PREFIX, InventoryId, OrganizationId, ProjectId, number_of, summary
from controlplane.domain.permission import Actor
from controlplane.services.core import Core
from controlplane.store.tables import AwxId, Environment, Project, Service, Target

TemplateId = aliased(AwxId)
# Both kinds as rows of one shape; what is no release has no service and no target.
_ROWS = union_all(
    select(
        (Service.id + ":" + Target.id).label("uid"),
        (Project.name + " / " + Service.name + " / " + Target.name).label("name"),
        case((Service.created_at > Target.created_at, Service.created_at), else_=Target.created_at).label("created_at"),
        Service.project_id.label("project_id"),
        Target.environment_id.label("environment_id"),
        Service.id.label("service_id"),
        Target.id.label("target_id"),
        Service.runtime_type.label("runtime_type"),
    )
    .join(Target, (Target.project_id == Service.project_id) & (Target.runtime_type == Service.runtime_type))
    .join(Project, Project.id == Service.project_id),
    select(
        Environment.id, Project.name + " / " + Environment.name + " / install", Environment.created_at,
        Environment.project_id, Environment.id, null(), null(), Environment.runtime_type,
    )
    .join(Project, Project.id == Environment.project_id)
    .where(Environment.mode == "platform_managed"),
).subquery("templates")  # fmt: skip
_template = _ROWS.c

LAUNCH_FIELDS: Mapping[str, Mapping[str, Any]] = {
    "extra_vars": field("json", "Values of what the survey asks for, as JSON or YAML.", default={}),
    "scm_branch": field(
        "string", "For a release: the version of the service; the newest where it is left out."
    ),
    "job_type": field("choice", "Only `run`: each launch is previewed anyway.", choices=[["run", "Run"]]),
}


def _select(actor: Actor) -> Select[Any]:
    rows = (
        resources.rows(
            TemplateId.id.label("pk"), _ROWS, Project.name.label("project_name"),
            Environment.name.label("environment_name"), Environment.stage, InventoryId.id.label("inventory"),
            ProjectId.id.label("project"), OrganizationId.id.label("organization"),
        )
        .select_from(_ROWS)
        .join(Project, Project.id == _template.project_id)
        .join(Environment, Environment.id == _template.environment_id)
        .join(TemplateId, number_of(TemplateId, "job_template", _template.uid))
        .outerjoin(InventoryId, number_of(InventoryId, "inventory", Environment.id))
        .outerjoin(ProjectId, number_of(ProjectId, "project", Project.id))
        .outerjoin(OrganizationId, number_of(OrganizationId, "organization", Project.team_id))
    )  # fmt: skip
    return rows.where(kinds.seen(actor, _template.project_id, _template.target_id.is_not(None)))


def _find(session: Session, numbers: Sequence[int]) -> list[ColumnElement[bool]]:
    """Return what templates of these numbers are: the database would make all templates to look for a number, and
    then look at each number for each of them.
    """
    query = select(AwxId.uid).where(AwxId.kind == "job_template", AwxId.id.in_(numbers))
    uids = list(session.scalars(query))
    pairs = [uid.partition(":") for uid in uids]
    targets = {target for _, _, target in pairs if target}
    services = {service for service, _, target in pairs if target}
    environments = {environment for environment, _, target in pairs if not target}
    ways = []
    if targets:
        made_of = (_template.service_id.in_(services), _template.target_id.in_(targets))
        ways.append(and_(*made_of, _template.uid.in_(uids)))
    if environments:
        ways.append(and_(_template.target_id.is_(None), _template.environment_id.in_(environments)))
    return ways


def _show(row: Any) -> dict[str, Any]:
    here = f"{PREFIX}/job_templates/{row.pk}"
    return resources.document(
        "job_template", "job_templates", row.pk, row.name, row.created_at,
        description=f"{row.stage}, {row.runtime_type}",
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
            "project": summary(row.project, row.project_name),
            "inventory": summary(row.inventory, f"{row.project_name} / {row.environment_name}"),
        },
        job_type="run", project=row.project, inventory=row.inventory, organization=row.organization,
        extra_vars="", limit="", job_tags="", skip_tags="",
        **_asked(kinds.of_uid(row.uid).has_versions),
    )  # fmt: skip


@cache
def _asked(has_versions: bool) -> Mapping[str, Any]:
    """Return what a launch asks for, which is the same for all templates of a kind."""
    return {
        "ask_variables_on_launch": True,
        "ask_scm_branch_on_launch": has_versions,
        "survey_enabled": True,
        **{f"ask_{name}_on_launch": False for name in _NEVER_ASKED},
    }


_NEVER_ASKED = (
    "limit", "tags", "skip_tags", "job_type", "inventory", "credential", "verbosity", "diff_mode",
    "execution_environment", "labels", "forks", "job_slice_count", "timeout", "instance_groups",
)  # fmt: skip

JOB_TEMPLATES = Resource(
    path="job_templates", type="job_template",
    about="Job templates: each service on each target of its project, `project / service / target`, and the install of "
    "each environment that the platform manages, `project / environment / install`.",
    permissions=kinds.SEE, pk=TemplateId.id,
    columns=resources.columns(
        TemplateId.id, _template.name, _template.created_at,
        project=Column(ProjectId.id, "id", "The project of it."),
        project__name=Column(Project.name, help_text="The name of the project."),
        inventory=Column(InventoryId.id, "id", "The environment that it changes."),
        organization=Column(OrganizationId.id, "id", "The team that its project belongs to."),
    ),
    select=_select, show=_show, find=_find, kinds=("organization", "project", "inventory", "job_template"),
    fields={
        **resources.COMMON,
        "job_type": ("string", "Always run."),
        "extra_vars": ("string", "Always empty: the survey tells what there is."),
        **dict.fromkeys(resources.ALWAYS_EMPTY, ("string", "Always empty: a job goes to all that it is for.")),
        "survey_enabled": ("boolean", "Whether what it takes is asked for as a survey."),
        "ask_variables_on_launch": ("boolean", "Whether a launch takes extra_vars."),
        "ask_scm_branch_on_launch": ("boolean", "Whether a launch takes a version."),
        **{f"ask_{name}_on_launch": ("boolean", "Always false.") for name in _NEVER_ASKED},
    },
)  # fmt: skip

# Clients that schedule look up by name here what they schedule.
UNIFIED_JOB_TEMPLATES = replace(
    JOB_TEMPLATES,
    path="unified_job_templates",
    about="Unified job templates: all of them are job templates here.",
    detail_methods=(),
)


def load(core: Core, actor: Actor, pk: str) -> Template:
    """Return a template to launch from. Raises Problem `not_found`, also where it is outside the actor's scope."""
    with core.database.read() as session:
        row = resource.row(session, actor, JOB_TEMPLATES, pk)
    return Template(
        row.pk, row.name, row.uid, row.project_id, row.environment_id, row.service_id, row.target_id, row.inventory
    )  # fmt: skip


def launch_document(core: Core, actor: Actor, pk: str) -> dict[str, Any]:
    """Return what a launch asks for. Raises Problem `not_found`."""
    template = load(core, actor, pk)
    about = kinds.of_template(template)
    with core.database.read() as session:
        questions = about.questions(session, template)
    needed = [question["variable"] for question in questions if question["required"]]
    return {
        **_asked(about.has_versions),
        "can_start_without_user_input": not needed,
        "passwords_needed_to_start": [],
        "variables_needed_to_start": needed,
        "credential_needed_to_start": False,
        "inventory_needed_to_start": False,
        "job_template_data": {"id": template.id, "name": template.name, "description": ""},
        "defaults": {"extra_vars": "", "scm_branch": "", "inventory": summary(template.inventory, None)},
    }


def survey(core: Core, actor: Actor, pk: str) -> dict[str, Any]:
    """Return what a launch may be told, as a survey. Raises Problem `not_found`."""
    template = load(core, actor, pk)
    about = kinds.of_template(template)
    with core.database.read() as session:
        questions = about.questions(session, template)
    return {"name": template.name, "description": about.survey, "spec": questions}
