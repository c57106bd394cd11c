# SPDX-License-Identifier: Apache-2.0
"""The resources whose commands are the usual five: what they are made of."""

from __future__ import annotations

import click

from controlplane.cli.resource import Field, Resource, add_commands

PROJECT = Field("project_id", "ref", refers_to="/projects", is_required=True, can_change=False)
IN_PROJECT = Field("project_id", "ref", refers_to="/projects")
NAME = Field("name", is_required=True)
ROLES = ("viewer", "releaser", "approver", "operator", "auditor", "admin")

PROJECTS = Resource(
    "project",
    "/projects",
    (
        Field("name", is_required=True),
        Field("description"),
        Field("team_id", "ref", refers_to="/teams"),
        Field("policy", "json", purpose="The project's own rows of the approval matrix."),
    ),
    ("id", "name", "team_id", "description"),
)
TEAMS = Resource("team", "/teams", (Field("name", is_required=True),), ("id", "name", "created_at"))
USERS = Resource(
    "user",
    "/users",
    (
        Field("name", is_required=True, can_change=False),
        Field("display_name"),
        Field("password", "secret", purpose="Without one, tokens are the only way in."),
        Field("is_disabled", "switch", option="--disabled"),
    ),
    ("id", "name", "display_name", "is_disabled"),
)
TOKENS = Resource(
    "token",
    "/tokens",
    (
        Field("user_id", "ref", refers_to="/users", purpose="Yours when left out."),
        Field("name", is_required=True),
        Field(
            "scopes", "words", option="--scope", purpose="A permission it is narrowed to; may be given again."
        ),
        Field("source", "choice", choices=("api", "cli", "ci", "ui", "ai"), purpose="The door it is for."),
        Field("expires_in_seconds", "whole"),
        Field("expires_at", purpose="RFC 3339, such as 2030-01-31T00:00:00Z."),
    ),
    ("id", "name", "user_id", "prefix", "source", "expires_at", "revoked_at", "last_used_at"),
    filters=(Field("user_id", "ref", refers_to="/users"),),
    has_name=False,
    actions=("create", "list", "show", "delete"),
)
BINDINGS = Resource(
    "binding",
    "/bindings",
    (
        Field("subject_type", "choice", choices=("user", "token"), is_required=True),
        Field("subject_id", "text", option="--subject", is_required=True, purpose="Id of the user or token."),
        Field("role", "choice", choices=ROLES, is_required=True),
        Field("scope_type", "choice", choices=("global", "project", "team"), is_required=True),
        Field("scope_id", option="--scope", purpose="Id of the project or team."),
    ),
    ("id", "subject_type", "subject_id", "role", "scope_type", "scope_id"),
    filters=(Field("subject_id", option="--subject"), Field("role", "choice", choices=ROLES)),
    has_name=False,
    actions=("create", "list", "show", "delete"),
)
ENVIRONMENTS = Resource(
    "environment",
    "/environments",
    (
        PROJECT,
        NAME,
        Field(
            "stage",
            "choice",
            choices=("development", "staging", "production"),
            is_required=True,
            can_change=False,
        ),
        Field("runtime_type", "choice", choices=("compose", "k8s"), option="--runtime", can_change=False),
        Field(
            "mode",
            "choice",
            choices=("external_managed", "platform_managed"),
            can_change=False,
            purpose="Whether Tidegate installs it.",
        ),
        Field("host_ids", "refs", refers_to="/hosts", option="--host", purpose="May be given again."),
    ),
    ("id", "name", "stage", "runtime_type", "mode", "status"),
    filters=(IN_PROJECT,),
)
REGISTRIES = Resource(
    "registry",
    "/registries",
    (
        PROJECT,
        Field("server", is_required=True, can_change=False, purpose="ADDRESS or ADDRESS:PORT."),
        Field("username", is_required=True),
        Field("password", "secret", is_required=True),
    ),
    ("id", "server", "username"),
    filters=(IN_PROJECT,),
)


def _group(resource: Resource, purpose: str) -> click.Group:
    group = click.Group(resource.name, help=purpose)
    add_commands(group, resource)
    return group


project = _group(PROJECTS, "Projects: the scope of almost everything.")
team = _group(TEAMS, "Teams of projects.")
user = _group(USERS, "Users.")
token = _group(TOKENS, "API tokens; a new one is shown once.")
binding = _group(BINDINGS, "Who holds which role where.")
registry = _group(REGISTRIES, "Registry credentials of a project.")
