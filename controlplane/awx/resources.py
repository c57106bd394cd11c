# SPDX-License-Identifier: Apache-2.0
"""What AWX's clients look up beside templates and jobs: where things run, what they belong to, who there is.

An organization is a team, a project a project, an inventory an environment, a host a host, a credential a project's
registry (its name: nothing of what it holds), a user a user.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, or_, select, true
from sqlalchemy.orm import aliased

from controlplane.awx.resource import Column, Resource
from controlplane.domain.permission import ROLES, Actor, Permission, reach
from controlplane.services import access, views
from controlplane.store.tables import (
    AwxId,
    Binding,
    Environment,
    EnvironmentNode,
    Host,
    Project,
    Registry,
    Team,
    User,
)

PREFIX = "/api/v2"
OrganizationId, ProjectId, InventoryId = aliased(AwxId), aliased(AwxId), aliased(AwxId)
# What would make a job do less than its template says.
ALWAYS_EMPTY = ("limit", "job_tags", "skip_tags")
# What every object shows, and what all but users and notifications show beside it.
OF_EVERY = {
    "type": ("string", "What it is."),
    "url": ("string", "Where it is read."),
    "related": ("object", "What belongs to it."),
    "summary_fields": ("object", "Names of what it is related to."),
    "modified": ("datetime", "When it was changed last."),
}
COMMON = {**OF_EVERY, "description": ("string", "What it is for.")}


def rows(*what: Any) -> Select[Any]:
    """Return a query whose rows a resource shows."""
    return select(*what)


def columns(pk: Any, name: Any, created: Any, **more: Column) -> dict[str, Column]:
    """Return the columns that every resource has, and its own."""
    return {
        "id": Column(pk, "integer", "Its number."),
        "name": Column(name, "string", "Its name."),
        "created": Column(created, "datetime", "When it was made."),
        **more,
    }


def document(
    kind: str, path: str, pk: int, name: str, created: datetime, /, *,
    related: dict[str, str] | None = None, summary: dict[str, Any] | None = None, modified: datetime | None = None,
    description: str = "", **fields: Any,
) -> dict[str, Any]:  # fmt: skip
    """Return the members that every object of AWX has, and its own."""
    begun = views.moment(created)
    return {
        "id": pk,
        "type": kind,
        "url": f"{PREFIX}/{path}/{pk}/",
        "related": related or {},
        "summary_fields": summary or {},
        "created": begun,
        "modified": views.moment(modified) if modified else begun,
        "name": name,
        "description": description,
        **fields,
    }


def summary(pk: int | None, name: str | None) -> dict[str, Any]:
    """Return how something is named inside another's `summary_fields`."""
    return {"id": pk, "name": name, "description": ""}


def number_of(table: Any, kind: str, uid: Any) -> Any:
    """Return the condition that joins a thing with its number."""
    return (table.kind == kind) & (table.uid == uid)


def within(actor: Actor, project_id: Any, *permissions: Permission) -> ColumnElement[bool]:
    """Return the condition that narrows rows of one kind among others to projects where the actor may all of this."""
    narrower = [
        project_id.in_(access.visible(select(Project.id), actor, each, Project.id))
        for each in permissions
        if not reach(actor, each).everything
    ]
    return and_(true(), *narrower)


# --- organizations: teams ------------------------------------------------------------------------------------


def _organizations(actor: Actor) -> Select[Any]:
    query = rows(AwxId.id.label("pk"), Team).join(AwxId, number_of(AwxId, "organization", Team.id))
    seen = access.visible(select(Project.team_id), actor, Permission.RELEASE_READ, Project.id)
    teams = reach(actor, Permission.RELEASE_READ)
    if teams.everything:
        return query
    return query.where(or_(Team.id.in_(teams.teams), Team.id.in_(seen)))


def _organization(row: Any) -> dict[str, Any]:
    return document("organization", "organizations", row.pk, row.Team.name, row.Team.created_at)


ORGANIZATIONS = Resource(
    path="organizations", type="organization", about="Organizations: the teams of Tidegate.",
    permissions=(Permission.RELEASE_READ,), pk=AwxId.id, columns=columns(AwxId.id, Team.name, Team.created_at),
    select=_organizations, show=_organization, kinds=("organization",), fields=COMMON,
)  # fmt: skip


# --- projects ------------------------------------------------------------------------------------------------


def _projects(actor: Actor) -> Select[Any]:
    query = (
        rows(AwxId.id.label("pk"), Project, OrganizationId.id.label("organization"), Team.name.label("team"))
        .join(AwxId, number_of(AwxId, "project", Project.id))
        .outerjoin(Team, Team.id == Project.team_id)
        .outerjoin(OrganizationId, number_of(OrganizationId, "organization", Project.team_id))
    )
    return access.visible(query, actor, Permission.RELEASE_READ, Project.id)


def _project(row: Any) -> dict[str, Any]:
    project = row.Project
    return document(
        "project", "projects", row.pk, project.name, project.created_at, description=project.description,
        summary={"organization": summary(row.organization, row.team)} if row.organization else {},
        organization=row.organization, scm_type="", status="successful",
    )  # fmt: skip


PROJECTS = Resource(
    path="projects", type="project", about="Projects: what services, targets and people's roles belong to.",
    permissions=(Permission.RELEASE_READ,), pk=AwxId.id,
    columns=columns(
        AwxId.id, Project.name, Project.created_at,
        description=Column(Project.description, help_text="What it is for."),
        organization=Column(OrganizationId.id, "id", "The team that it belongs to."),
        organization__name=Column(Team.name, help_text="The name of the team."),
    ),
    select=_projects, show=_project, kinds=("organization", "project"), search=("name", "description"),
    fields={
        **COMMON,
        "scm_type": ("string", "Always empty: nothing of it comes from a repository."),
        "status": ("string", "Always successful: it is never updated from anywhere."),
    },
)  # fmt: skip


# --- inventories: environments -------------------------------------------------------------------------------


def _inventories(actor: Actor) -> Select[Any]:
    query = (
        rows(
            AwxId.id.label("pk"), Environment, Project.name.label("project"),
            OrganizationId.id.label("organization"),
        )
        .join(AwxId, number_of(AwxId, "inventory", Environment.id))
        .join(Project, Project.id == Environment.project_id)
        .outerjoin(OrganizationId, number_of(OrganizationId, "organization", Project.team_id))
    )  # fmt: skip
    return access.visible(query, actor, Permission.ENVIRONMENT_READ, Environment.project_id)


def _inventory(row: Any) -> dict[str, Any]:
    environment = row.Environment
    return document(
        "inventory", "inventories", row.pk, f"{row.project} / {environment.name}", environment.created_at,
        related={"hosts": f"{PREFIX}/inventories/{row.pk}/hosts/"}, organization=row.organization, kind="",
        description=f"{environment.stage}, {environment.runtime_type}", variables="",
    )  # fmt: skip


_INVENTORY_NAME = Project.name + " / " + Environment.name
INVENTORIES = Resource(
    path="inventories", type="inventory", about="Inventories: the environments of projects.",
    permissions=(Permission.ENVIRONMENT_READ,), pk=AwxId.id,
    columns=columns(
        AwxId.id, _INVENTORY_NAME, Environment.created_at,
        organization=Column(OrganizationId.id, "id", "The team that its project belongs to."),
    ),
    select=_inventories, show=_inventory, kinds=("organization", "inventory"),
    fields={
        **COMMON,
        "kind": ("string", "Always empty: its hosts are its own."),
        "variables": ("string", "Always empty: values of variables are shown through the API."),
    },
)  # fmt: skip


# --- hosts ---------------------------------------------------------------------------------------------------


def _hosts(actor: Actor) -> Select[Any]:
    # A host may be a node of several environments; AWX shows one: the oldest.
    first = (
        select(EnvironmentNode.environment_id)
        .join(Environment, Environment.id == EnvironmentNode.environment_id)
        .where(EnvironmentNode.host_id == Host.id)
        .order_by(Environment.created_at, Environment.id)
        .limit(1)
        .correlate(Host)
        .scalar_subquery()
    )
    query = (
        rows(AwxId.id.label("pk"), Host, InventoryId.id.label("inventory"))
        .join(AwxId, number_of(AwxId, "host", Host.id))
        .outerjoin(InventoryId, number_of(InventoryId, "inventory", first))
    )
    return access.visible(query, actor, Permission.ENVIRONMENT_READ, Host.project_id)


def hosts_of_inventory(actor: Actor, inventory_uid: str) -> Select[Any]:
    """Return the hosts that are nodes of an environment."""
    nodes = select(EnvironmentNode.host_id).where(EnvironmentNode.environment_id == inventory_uid)
    return _hosts(actor).where(Host.id.in_(nodes))


def _host(row: Any) -> dict[str, Any]:
    host = row.Host
    return document(
        "host", "hosts", row.pk, host.name, host.created_at, description=f"{host.address}:{host.port}",
        inventory=row.inventory, enabled=True, variables="",
    )  # fmt: skip


HOSTS = Resource(
    path="hosts", type="host", about="Hosts: the machines that are released to over SSH.",
    permissions=(Permission.ENVIRONMENT_READ,), pk=AwxId.id,
    columns=columns(
        AwxId.id, Host.name, Host.created_at, inventory=Column(InventoryId.id, "id", "The environment of it."),
    ),
    select=_hosts, show=_host, kinds=("inventory", "host"),
    fields={
        **COMMON,
        "enabled": ("boolean", "Always true."),
        "variables": ("string", "Always empty: nothing of how it is reached is shown."),
    },
)  # fmt: skip


# --- credentials: registries, by name only -------------------------------------------------------------------


def _credentials(actor: Actor) -> Select[Any]:
    query = rows(AwxId.id.label("pk"), Registry.server, Registry.created_at).join(
        AwxId, number_of(AwxId, "credential", Registry.id)
    )
    return access.visible(query, actor, Permission.TARGET_READ, Registry.project_id)


def _credential(row: Any) -> dict[str, Any]:
    return document("credential", "credentials", row.pk, row.server, row.created_at, kind="registry")


CREDENTIALS = Resource(
    path="credentials", type="credential", about="Credentials: registries of projects, by name; never what they hold.",
    permissions=(Permission.TARGET_READ,), pk=AwxId.id,
    columns=columns(AwxId.id, Registry.server, Registry.created_at),
    select=_credentials, show=_credential, kinds=("credential",),
    fields={**COMMON, "kind": ("string", "Always registry.")},
)  # fmt: skip


# --- users ---------------------------------------------------------------------------------------------------


_administers_all = (
    select(Binding.id)
    .where(
        Binding.subject_type == "user",
        Binding.subject_id == User.id,
        Binding.scope_type == "global",
        Binding.role.in_([role for role, may in ROLES.items() if Permission.ADMIN in may]),
    )
    .correlate(User)
    .exists()
)


def _users(actor: Actor) -> Select[Any]:
    query = rows(AwxId.id.label("pk"), User, _administers_all.label("is_superuser")).join(
        AwxId, number_of(AwxId, "user", User.id)
    )
    # As the API has it: who administers anything sees all, anybody else themselves.
    covered = reach(actor, Permission.ADMIN)
    if covered.everything or covered.projects or covered.teams:
        return query
    return query.where(User.id == actor.id)


def user(row: Any) -> dict[str, Any]:
    """Return a user as AWX shows one."""
    found = row.User
    shown = document(
        "user", "users", row.pk, found.name, found.created_at, username=found.name, first_name=found.display_name,
        last_name="", email="", is_superuser=bool(row.is_superuser), is_system_auditor=False,
    )  # fmt: skip
    del shown["name"], shown["description"]
    return shown


USERS = Resource(
    path="users", type="user", about="Users: people and machine accounts.", permissions=(), pk=AwxId.id,
    columns={
        "id": Column(AwxId.id, "integer", "Its number."),
        "username": Column(User.name, "string", "The name."),
        "first_name": Column(User.display_name, "string", "How the person is called."),
        "created": Column(User.created_at, "datetime", "When it was made."),
    },
    select=_users, show=user, kinds=("user",), search=("username", "first_name"),
    fields={
        **OF_EVERY,
        "last_name": ("string", "Always empty: a user has one name to be called by."),
        "email": ("string", "Always empty: none is kept."),
        "is_superuser": ("boolean", "Whether the user administers everything."),
        "is_system_auditor": ("boolean", "Always false: who may read what is told by roles."),
    },
)  # fmt: skip

READ_ONLY = (ORGANIZATIONS, PROJECTS, INVENTORIES, HOSTS, CREDENTIALS, USERS)
