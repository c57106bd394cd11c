# SPDX-License-Identifier: Apache-2.0
"""Permission codes, roles, scopes, and who a request is from. DESIGN section 5."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Permission(StrEnum):
    """Every permission there is. `ADMIN` includes all others."""

    RELEASE_READ = "deploy:release:read"
    RELEASE_APPLY = "deploy:release:apply"
    RELEASE_ROLLBACK = "deploy:release:rollback"
    RELEASE_APPROVE = "deploy:release:approve"
    K8S_READ = "deploy:k8s:read"
    K8S_APPLY = "deploy:k8s:apply"
    K8S_ROLLBACK = "deploy:k8s:rollback"
    COMPOSE_READ = "deploy:compose:read"
    COMPOSE_APPLY = "deploy:compose:apply"
    COMPOSE_ROLLBACK = "deploy:compose:rollback"
    APPROVAL_READ = "deploy:approval:read"
    APPROVAL_REVIEW = "deploy:approval:review"
    TARGET_READ = "deploy:target:read"
    TARGET_WRITE = "deploy:target:write"
    ENVIRONMENT_READ = "deploy:environment:read"
    ENVIRONMENT_WRITE = "deploy:environment:write"
    ENVIRONMENT_INSTALL = "deploy:environment:install"
    CLUSTER_READ = "deploy:cluster:read"
    CLUSTER_WRITE = "deploy:cluster:write"
    CLUSTER_ROTATE = "deploy:cluster:rotate"
    CREDENTIAL_WRITE = "deploy:credential:write"
    AUDIT_READ = "deploy:audit:read"
    ADMIN = "admin"


_READ = frozenset(
    {
        Permission.RELEASE_READ,
        Permission.K8S_READ,
        Permission.COMPOSE_READ,
        Permission.APPROVAL_READ,
        Permission.TARGET_READ,
        Permission.ENVIRONMENT_READ,
        Permission.CLUSTER_READ,
    }
)
_RELEASE = _READ | {
    Permission.RELEASE_APPLY,
    Permission.RELEASE_ROLLBACK,
    Permission.K8S_APPLY,
    Permission.K8S_ROLLBACK,
    Permission.COMPOSE_APPLY,
    Permission.COMPOSE_ROLLBACK,
}

ROLES: Mapping[str, frozenset[Permission]] = {
    "viewer": _READ,
    "releaser": _RELEASE,
    "approver": _READ | {Permission.RELEASE_APPROVE, Permission.APPROVAL_REVIEW},
    "operator": _RELEASE
    | {
        Permission.TARGET_WRITE,
        Permission.ENVIRONMENT_WRITE,
        Permission.ENVIRONMENT_INSTALL,
        Permission.CLUSTER_WRITE,
        Permission.CLUSTER_ROTATE,
        Permission.CREDENTIAL_WRITE,
    },
    "auditor": _READ | {Permission.AUDIT_READ},
    "admin": frozenset(Permission),
}

SCOPE_TYPES = ("global", "project", "team")
EVENT_SOURCES = ("ui", "api", "cli", "ci", "ai", "inbox", "awx", "scheduler", "worker", "workstation")


def runtime_permission(runtime_type: str, verb: str) -> Permission:
    """Return the code that a runtime asks beside the release's: `deploy:compose:apply`.

    Args:
        runtime_type: `compose` or `k8s`.
        verb: `read`, `apply` or `rollback`.
    """
    return Permission(f"deploy:{runtime_type}:{verb}")


@dataclass(frozen=True)
class Grant:
    """A role held in a scope."""

    role: str
    scope_type: str
    scope_id: str = ""

    def reaches(self, project_id: str | None, team_id: str | None) -> bool:
        """Say whether the scope covers a project (None: something that belongs to no project)."""
        if self.scope_type == "global":
            return True
        if self.scope_type == "project":
            return project_id is not None and self.scope_id == project_id
        return team_id is not None and self.scope_id == team_id


@dataclass(frozen=True)
class Actor:
    """Who asks, through which door, with which grants.

    `ceiling` is the scopes of the token, None where it has none: what is not in it is not permitted,
    whatever the grants say.
    """

    id: str
    name: str
    type: str = "user"
    source: str = "api"
    grants: tuple[Grant, ...] = ()
    ceiling: frozenset[str] | None = None
    request_id: str | None = None
    token_id: str | None = None

    def may(self, permission: Permission, project_id: str | None = None, team_id: str | None = None) -> bool:
        """Say whether some grant gives this permission there, under the token's ceiling."""
        if (
            self.ceiling is not None
            and permission not in self.ceiling
            and Permission.ADMIN not in self.ceiling
        ):
            return False
        return any(
            permission in ROLES.get(grant.role, frozenset()) and grant.reaches(project_id, team_id)
            for grant in self.grants
        )

    def sees(self, project_id: str | None, team_id: str | None) -> bool:
        """Say whether any grant reaches the project: what no grant reaches does not exist for this actor."""
        return any(grant.reaches(project_id, team_id) for grant in self.grants)


@dataclass(frozen=True)
class Reach:
    """The projects and teams that an actor's grants for one permission cover; `everything` for a global grant."""

    everything: bool = False
    projects: frozenset[str] = field(default_factory=frozenset)
    teams: frozenset[str] = field(default_factory=frozenset)


def reach(actor: Actor, permission: Permission) -> Reach:
    """Return where an actor holds a permission, for filtering lists."""
    if (
        actor.ceiling is not None
        and permission not in actor.ceiling
        and Permission.ADMIN not in actor.ceiling
    ):
        return Reach()
    grants = [grant for grant in actor.grants if permission in ROLES.get(grant.role, frozenset())]
    return Reach(
        everything=any(grant.scope_type == "global" for grant in grants),
        projects=frozenset(_scopes(grants, "project")),
        teams=frozenset(_scopes(grants, "team")),
    )


def _scopes(grants: Iterable[Grant], scope_type: str) -> Iterable[str]:
    return (grant.scope_id for grant in grants if grant.scope_type == scope_type)


SYSTEM_GRANTS = (Grant("admin", "global"),)


def system_actor(source: str, request_id: str | None = None) -> Actor:
    """Return the actor for what Tidegate does by itself. `source`: `worker` or `scheduler`."""
    return Actor(
        id=source, name=source, type="system", source=source, grants=SYSTEM_GRANTS, request_id=request_id
    )
