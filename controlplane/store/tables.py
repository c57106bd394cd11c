# SPDX-License-Identifier: Apache-2.0
"""The tables, as SQLAlchemy maps them. The migrations make them; a test holds the two together.

Every time is an aware UTC datetime. JSON columns hold what is read whole and never searched into. A column
named `*_cipher` holds what the vault encrypted; nothing else in here is secret.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    ColumnElement,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    func,
    literal,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}


NEVER = datetime(9999, 1, 1, tzinfo=UTC)


class UtcDateTime(TypeDecorator[datetime]):
    """SQLite forgets time zones: write UTC, read aware."""

    impl = DateTime(timezone=True)
    cache_ok = True

    @property
    def python_type(self) -> type[datetime]:
        """A decorated type does not tell its own (SQLAlchemy's default is `object`); cursors ask for it."""
        return datetime

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a naive time: whose it would be is a guess."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime cannot be stored")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give SQLite's naive times their zone back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """The declarative base: names constraints so that migrations can name them too."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {
        datetime: UtcDateTime,
        dict[str, Any]: JSON,
        list[Any]: JSON,
        list[str]: JSON,
        str: String(255),
    }


def _pk() -> Mapped[str]:
    return mapped_column(String(40), primary_key=True)


# --- people and access ---------------------------------------------------------------------------------------


class Team(Base):
    """Projects belong to teams; a binding on a team reaches all its projects."""

    __tablename__ = "teams"
    id: Mapped[str] = _pk()
    name: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime]


class Project(Base):
    """The scope of almost everything. `policy` overrides rows of the approval matrix."""

    __tablename__ = "projects"
    id: Mapped[str] = _pk()
    name: Mapped[str] = mapped_column(unique=True)
    description: Mapped[str] = mapped_column(Text, default="")
    team_id: Mapped[str | None] = mapped_column(ForeignKey("teams.id"), index=True)
    policy: Mapped[list[Any]] = mapped_column(default=list)
    created_at: Mapped[datetime]


class User(Base):
    """A person (or a machine account). Without a password hash, tokens are the only way in."""

    __tablename__ = "users"
    id: Mapped[str] = _pk()
    name: Mapped[str] = mapped_column(unique=True)
    display_name: Mapped[str] = mapped_column(default="")
    password_hash: Mapped[str | None] = mapped_column(Text)
    is_disabled: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime]


class Token(Base):
    """An API token: the prefix is shown, the rest is kept as a SHA-256. `scopes` narrows, never widens."""

    __tablename__ = "tokens"
    id: Mapped[str] = _pk()
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    name: Mapped[str]
    prefix: Mapped[str] = mapped_column(String(16), unique=True)
    secret_hash: Mapped[str] = mapped_column(String(64))
    scopes: Mapped[list[str] | None]
    source: Mapped[str] = mapped_column(String(16), default="api")
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class Binding(Base):
    """(user or token, role, scope). `scope_id` is '' for the global scope, so that uniqueness holds."""

    __tablename__ = "bindings"
    __table_args__ = (UniqueConstraint("subject_type", "subject_id", "role", "scope_type", "scope_id"),)
    id: Mapped[str] = _pk()
    subject_type: Mapped[str] = mapped_column(String(16))
    subject_id: Mapped[str] = mapped_column(String(40), index=True)
    role: Mapped[str] = mapped_column(String(32))
    scope_type: Mapped[str] = mapped_column(String(16))
    scope_id: Mapped[str] = mapped_column(String(40), default="")
    created_at: Mapped[datetime]


# --- where releases go ---------------------------------------------------------------------------------------


class Host(Base):
    """A machine reached over SSH. `host_key` is used only once `host_key_status` is `pinned`."""

    __tablename__ = "hosts"
    __table_args__ = (UniqueConstraint("project_id", "name"),)
    id: Mapped[str] = _pk()
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), index=True)
    name: Mapped[str] = mapped_column(String(63))
    address: Mapped[str]
    port: Mapped[int] = mapped_column(default=22)
    user: Mapped[str]
    become: Mapped[bool] = mapped_column(default=False)
    jump_host_id: Mapped[str | None] = mapped_column(ForeignKey("hosts.id"))
    host_key: Mapped[str | None] = mapped_column(Text)
    host_key_fingerprint: Mapped[str | None]
    host_key_status: Mapped[str] = mapped_column(String(16), default="unknown")
    private_key_cipher: Mapped[bytes | None] = mapped_column(LargeBinary)
    password_cipher: Mapped[bytes | None] = mapped_column(LargeBinary)
    become_password_cipher: Mapped[bytes | None] = mapped_column(LargeBinary)
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime]


class Environment(Base):
    """Stage, runtime and how it came to be; DESIGN section 7. `health` is what its last check found, by host."""

    __tablename__ = "environments"
    __table_args__ = (UniqueConstraint("project_id", "name"),)
    id: Mapped[str] = _pk()
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), index=True)
    name: Mapped[str]
    stage: Mapped[str] = mapped_column(String(16))
    runtime_type: Mapped[str] = mapped_column(String(16))
    mode: Mapped[str] = mapped_column(String(24), default="external_managed")
    status: Mapped[str] = mapped_column(String(16), default="ready")
    health: Mapped[dict[str, Any]] = mapped_column(default=dict)
    health_at: Mapped[datetime | None]
    created_at: Mapped[datetime]


class EnvironmentNode(Base):
    """A host of an environment, and its role there."""

    __tablename__ = "environment_nodes"
    environment_id: Mapped[str] = mapped_column(ForeignKey("environments.id"), primary_key=True)
    host_id: Mapped[str] = mapped_column(ForeignKey("hosts.id"), primary_key=True)
    role: Mapped[str] = mapped_column(String(24), default="compose_worker")


class Cluster(Base):
    """A Kubernetes cluster and how it is reached.

    One that an install made has its `environment_id`. `kubeconfig_cipher` is the canonical kubeconfig: one
    context, everything inline. `last_check` is what the last test of the connection found, in what the API shows.
    `status`: ready, failed, or gone: it was taken away with its environment. `certificates` are those of its control
    planes as they were last seen, `{hosts: {name: [row]}, problems}`; the first of them ends at
    `certificates_expire_at`.
    `direct_endpoint` is where it was reached before its endpoint became the VIP of its network entry; None while it
    is reached there.
    """

    __tablename__ = "clusters"
    __table_args__ = (UniqueConstraint("project_id", "name"),)
    id: Mapped[str] = _pk()
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), index=True)
    name: Mapped[str] = mapped_column(String(63))
    mode: Mapped[str] = mapped_column(String(24), default="external_managed")
    environment_id: Mapped[str | None] = mapped_column(ForeignKey("environments.id"), index=True)
    endpoint: Mapped[str] = mapped_column(String(255))
    direct_endpoint: Mapped[str | None] = mapped_column(String(255))
    ca: Mapped[str | None] = mapped_column(Text)
    insecure_skip_tls_verify: Mapped[bool] = mapped_column(default=False)
    kubeconfig_cipher: Mapped[bytes] = mapped_column(LargeBinary)
    credential_kind: Mapped[str] = mapped_column(String(16))
    credential_expires_at: Mapped[datetime | None] = mapped_column(index=True)
    server_version: Mapped[str | None] = mapped_column(String(64))
    status: Mapped[str] = mapped_column(String(16), default="ready")
    last_check: Mapped[dict[str, Any]] = mapped_column(default=dict)
    last_checked_at: Mapped[datetime | None]
    certificates: Mapped[dict[str, Any]] = mapped_column(default=dict)
    certificates_checked_at: Mapped[datetime | None]
    certificates_expire_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(default=1)
    created_by: Mapped[str] = mapped_column(String(40))
    created_at: Mapped[datetime]

    @hybrid_property
    def expiry(self) -> datetime:
        """When the credential ends, to sort by: one that does not say comes last."""
        return self.credential_expires_at or NEVER

    @expiry.inplace.expression
    @classmethod
    def _expiry_expression(cls) -> ColumnElement[datetime]:
        return func.coalesce(cls.credential_expires_at, literal(NEVER, UtcDateTime()))


class Target(Base):
    """Where a service is released: an environment and some of its hosts (Compose), or a cluster and a namespace.

    `cluster_access` is what the cluster's credential was found to lack in the namespace.
    """

    __tablename__ = "targets"
    __table_args__ = (UniqueConstraint("project_id", "name"),)
    id: Mapped[str] = _pk()
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), index=True)
    name: Mapped[str] = mapped_column(String(63))
    environment_id: Mapped[str] = mapped_column(ForeignKey("environments.id"), index=True)
    runtime_type: Mapped[str] = mapped_column(String(16))
    host_ids: Mapped[list[str]] = mapped_column(default=list)
    cluster_id: Mapped[str | None] = mapped_column(ForeignKey("clusters.id"), index=True)
    namespace: Mapped[str | None] = mapped_column(String(63))
    cluster_scoped: Mapped[bool] = mapped_column(default=False)
    cluster_access: Mapped[dict[str, Any]] = mapped_column(default=dict)
    status: Mapped[dict[str, Any]] = mapped_column(default=dict)
    status_at: Mapped[datetime | None]
    created_at: Mapped[datetime]


# --- what is released ----------------------------------------------------------------------------------------


class Service(Base):
    """Something that is released. Its versions are immutable."""

    __tablename__ = "services"
    __table_args__ = (UniqueConstraint("project_id", "name"),)
    id: Mapped[str] = _pk()
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), index=True)
    name: Mapped[str] = mapped_column(String(63))
    runtime_type: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime]


class ServiceVersion(Base):
    """One immutable version: what is rendered, variable schema, defaults, image archives by digest.

    `template` is the compose file or the manifests; it is empty where `kustomization` holds files by their names.
    `prune_kinds`: kinds that are otherwise never pruned.

    `images`: `[{"reference": "shop:2", "artifact": "sha256:..."}]`. `digest` covers all of it.
    """

    __tablename__ = "service_versions"
    __table_args__ = (UniqueConstraint("service_id", "version"),)
    id: Mapped[str] = _pk()
    service_id: Mapped[str] = mapped_column(ForeignKey("services.id"), index=True)
    version: Mapped[str] = mapped_column(String(64))
    number: Mapped[int]
    template: Mapped[str] = mapped_column(Text)
    variable_schema: Mapped[dict[str, Any]] = mapped_column(default=dict)
    images: Mapped[list[Any]] = mapped_column(default=list)
    kustomization: Mapped[dict[str, Any] | None]
    prune_kinds: Mapped[list[Any]] = mapped_column(default=list)
    strategy: Mapped[str] = mapped_column(String(16), default="rolling")
    strategy_params: Mapped[dict[str, Any]] = mapped_column(default=dict)
    health_timeout: Mapped[int] = mapped_column(default=120)
    digest: Mapped[str] = mapped_column(String(80))
    created_by: Mapped[str] = mapped_column(String(40))
    created_at: Mapped[datetime]


class VariableValue(Base):
    """A value of a service's variable for an environment or a target. Secret ones only as `value_cipher`."""

    __tablename__ = "variable_values"
    __table_args__ = (UniqueConstraint("service_id", "scope_type", "scope_id", "name"),)
    id: Mapped[str] = _pk()
    service_id: Mapped[str] = mapped_column(ForeignKey("services.id"), index=True)
    scope_type: Mapped[str] = mapped_column(String(16))
    scope_id: Mapped[str] = mapped_column(String(40))
    name: Mapped[str]
    value: Mapped[Any | None] = mapped_column(JSON)
    value_cipher: Mapped[bytes | None] = mapped_column(LargeBinary)
    is_secret: Mapped[bool] = mapped_column(default=False)
    updated_at: Mapped[datetime]


class Registry(Base):
    """A project's credential for a container registry."""

    __tablename__ = "registries"
    __table_args__ = (UniqueConstraint("project_id", "server"),)
    id: Mapped[str] = _pk()
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), index=True)
    server: Mapped[str]
    username: Mapped[str]
    password_cipher: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime]


class Artifact(Base):
    """An image archive of a project. The bytes are kept once for all projects, under their digest.

    `pushed_at` is when it was pushed last: one that no version names is collected some time after that.
    """

    __tablename__ = "artifacts"
    __table_args__ = (UniqueConstraint("project_id", "digest"),)
    id: Mapped[str] = _pk()
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), index=True)
    digest: Mapped[str] = mapped_column(String(80), index=True)
    size: Mapped[int] = mapped_column(BigInteger)
    media: Mapped[str] = mapped_column(String(128))
    image_ids: Mapped[list[str]] = mapped_column(default=list)
    references: Mapped[list[str]] = mapped_column(default=list)
    created_by: Mapped[str] = mapped_column(String(40))
    created_at: Mapped[datetime]
    pushed_at: Mapped[datetime]


# --- releases ------------------------------------------------------------------------------------------------


class Release(Base):
    """A release from its preview to its end. `state` moves only through `store.guard`.

    `preview` is the document that was shown; `preview_digest` its SHA-256. `payload_cipher` is what the
    worker applies: rendered files with their secrets, resolved images. `kept_until` is when what had the traffic
    before is to be deleted.
    """

    __tablename__ = "releases"
    __table_args__ = (
        Index("ix_releases_target_state", "target_id", "state"),
        Index("ix_releases_project_created", "project_id", "created_at", "id"),
    )
    id: Mapped[str] = _pk()
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), index=True)
    team_id: Mapped[str | None] = mapped_column(String(40))
    target_id: Mapped[str] = mapped_column(ForeignKey("targets.id"))
    target_name: Mapped[str]
    environment_id: Mapped[str] = mapped_column(String(40), index=True)
    environment_name: Mapped[str]
    stage: Mapped[str] = mapped_column(String(16))
    runtime_type: Mapped[str] = mapped_column(String(16))
    service_id: Mapped[str] = mapped_column(ForeignKey("services.id"), index=True)
    service_name: Mapped[str]
    service_version: Mapped[str] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(16), default="apply")
    strategy: Mapped[str] = mapped_column(String(16))
    strategy_params: Mapped[dict[str, Any]] = mapped_column(default=dict)
    variables: Mapped[dict[str, Any]] = mapped_column(default=dict)
    state: Mapped[str] = mapped_column(String(24))
    status: Mapped[str] = mapped_column(String(24))
    version: Mapped[int] = mapped_column(default=1)
    trigger_source: Mapped[str] = mapped_column(String(16))
    request_id: Mapped[str | None] = mapped_column(String(64))
    created_by: Mapped[str] = mapped_column(String(40), index=True)
    created_by_name: Mapped[str]
    created_at: Mapped[datetime]
    applied_by: Mapped[str | None] = mapped_column(String(40))
    started_at: Mapped[datetime | None]
    verified_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    rollback_of: Mapped[str | None] = mapped_column(String(40), index=True)
    restores: Mapped[str | None] = mapped_column(String(40))
    rolled_back_by: Mapped[str | None] = mapped_column(String(40))
    approval_required: Mapped[bool] = mapped_column(default=False)
    ticket_id: Mapped[str | None] = mapped_column(String(40))
    preview_ref: Mapped[str | None] = mapped_column(String(40), unique=True)
    preview: Mapped[dict[str, Any] | None]
    preview_digest: Mapped[str | None] = mapped_column(String(80))
    preview_expires_at: Mapped[datetime | None]
    preview_used_at: Mapped[datetime | None]
    inputs_cipher: Mapped[bytes | None] = mapped_column(LargeBinary)
    payload_cipher: Mapped[bytes | None] = mapped_column(LargeBinary)
    diagnostics: Mapped[dict[str, Any] | None]
    cancel_requested_at: Mapped[datetime | None]
    kept_until: Mapped[datetime | None] = mapped_column(index=True)


class Ticket(Base):
    """An approval ticket; DESIGN section 4."""

    __tablename__ = "tickets"
    __table_args__ = (Index("ix_tickets_status_expires", "status", "expires_at"),)
    id: Mapped[str] = _pk()
    scope_type: Mapped[str] = mapped_column(String(24))
    scope_id: Mapped[str] = mapped_column(String(40), index=True)
    project_id: Mapped[str] = mapped_column(String(40), index=True)
    team_id: Mapped[str | None] = mapped_column(String(40))
    environment_id: Mapped[str | None] = mapped_column(String(40))
    runtime_type: Mapped[str] = mapped_column(String(16))
    risk_level: Mapped[str] = mapped_column(String(16))
    risk_reasons: Mapped[list[str]] = mapped_column(default=list)
    priority: Mapped[int] = mapped_column(default=3)
    status: Mapped[str] = mapped_column(String(16), default="pending")
    version: Mapped[int] = mapped_column(default=1)
    required_permission: Mapped[str] = mapped_column(String(48))
    requested_by: Mapped[str] = mapped_column(String(40), index=True)
    requested_by_name: Mapped[str]
    assigned_to: Mapped[str | None] = mapped_column(String(40), index=True)
    summary: Mapped[str] = mapped_column(Text)
    detail: Mapped[dict[str, Any]] = mapped_column(default=dict)
    preview_digest: Mapped[str | None] = mapped_column(String(80))
    min_approvals: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    sla_due_at: Mapped[datetime | None]
    escalated_at: Mapped[datetime | None]
    decided_at: Mapped[datetime | None]


class TicketAction(Base):
    """What was done to a ticket, by whom, with which comment. One approval a person."""

    __tablename__ = "ticket_actions"
    id: Mapped[str] = _pk()
    ticket_id: Mapped[str] = mapped_column(ForeignKey("tickets.id"), index=True)
    action: Mapped[str] = mapped_column(String(16))
    actor_id: Mapped[str] = mapped_column(String(40))
    actor_name: Mapped[str]
    comment: Mapped[str] = mapped_column(Text, default="")
    occurred_at: Mapped[datetime]


# --- installs ------------------------------------------------------------------------------------------------


class InstallTask(Base):
    """A task on hosts, from its preview to its end. `state` moves only through `store.guard`.

    `subject` says what it is about: `install`, an install of an environment or its rollback; `network_entry`, a
    cluster's virtual IP; `cert_rotation`, the certificates of its control planes. `nodes` are those of the preview:
    `[{host_id, name, role}]`. `request_cipher` is what was asked for, which may hold secrets. `follows` is the task
    after which it was made by itself; then it is applied by itself, which is asked for once, at `follow_asked_at`.
    """

    __tablename__ = "install_tasks"
    __table_args__ = (
        Index("ix_install_tasks_environment_created", "environment_id", "created_at", "id"),
        Index("ix_install_tasks_cluster_created", "cluster_id", "created_at", "id"),
    )
    id: Mapped[str] = _pk()
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), index=True)
    team_id: Mapped[str | None] = mapped_column(String(40))
    subject: Mapped[str] = mapped_column(String(16), default="install")
    environment_id: Mapped[str | None] = mapped_column(ForeignKey("environments.id"))
    environment_name: Mapped[str | None]
    cluster_id: Mapped[str | None] = mapped_column(ForeignKey("clusters.id"))
    cluster_name: Mapped[str | None] = mapped_column(String(63))
    stage: Mapped[str] = mapped_column(String(16))
    runtime_type: Mapped[str] = mapped_column(String(16))
    kind: Mapped[str] = mapped_column(String(16))
    undoes: Mapped[str | None] = mapped_column(String(40))
    follows: Mapped[str | None] = mapped_column(String(40), index=True)
    follow_asked_at: Mapped[datetime | None]
    state: Mapped[str] = mapped_column(String(16))
    status: Mapped[str] = mapped_column(String(24))
    version: Mapped[int] = mapped_column(default=1)
    nodes: Mapped[list[Any]] = mapped_column(default=list)
    request_cipher: Mapped[bytes] = mapped_column(LargeBinary)
    trigger_source: Mapped[str] = mapped_column(String(16))
    request_id: Mapped[str | None] = mapped_column(String(64))
    created_by: Mapped[str] = mapped_column(String(40))
    created_by_name: Mapped[str]
    created_at: Mapped[datetime]
    applied_by: Mapped[str | None] = mapped_column(String(40))
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    approval_required: Mapped[bool] = mapped_column(default=False)
    ticket_id: Mapped[str | None] = mapped_column(String(40))
    preview_ref: Mapped[str | None] = mapped_column(String(40), unique=True)
    preview: Mapped[dict[str, Any] | None]
    preview_digest: Mapped[str | None] = mapped_column(String(80))
    preview_expires_at: Mapped[datetime | None]
    preview_used_at: Mapped[datetime | None]
    bundle_digest: Mapped[str | None] = mapped_column(String(80))
    diagnostics: Mapped[dict[str, Any] | None]
    cancel_requested_at: Mapped[datetime | None]

    @property
    def resource_type(self) -> str:
        """What events, jobs and the like call it."""
        return f"{self.subject}_task"


class InstallStep(Base):
    """A step of a task on a host: where it stands now, and what it said last."""

    __tablename__ = "install_steps"
    task_id: Mapped[str] = mapped_column(ForeignKey("install_tasks.id"), primary_key=True)
    host: Mapped[str] = mapped_column(String(63), primary_key=True)
    step: Mapped[str] = mapped_column(String(64), primary_key=True)
    position: Mapped[int]
    status: Mapped[str] = mapped_column(String(16))
    attempt: Mapped[int] = mapped_column(default=1)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    duration_ms: Mapped[int | None]
    exit_code: Mapped[int | None]
    stdout_tail: Mapped[str] = mapped_column(Text, default="")
    stderr_tail: Mapped[str] = mapped_column(Text, default="")
    error_key: Mapped[str | None] = mapped_column(String(48))
    remediation: Mapped[str | None] = mapped_column(Text)
    detail: Mapped[dict[str, Any]] = mapped_column(default=dict)


# --- network entries -----------------------------------------------------------------------------------------


class NetworkEntry(Base):
    """The virtual IP before a cluster, as it is now. A cluster without one has no row.

    `task_id` is the apply that made it what it is, `previous_task_id` the one that a rollback goes back to;
    `parameters` are what was asked for without its secret. `is_applied` is false from the beginning of an apply to
    its success: what was never applied is not checked. `nodes` are `[{host_id, name, role}]`.
    """

    __tablename__ = "network_entries"
    cluster_id: Mapped[str] = mapped_column(ForeignKey("clusters.id"), primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), index=True)
    task_id: Mapped[str] = mapped_column(String(40))
    previous_task_id: Mapped[str | None] = mapped_column(String(40))
    is_applied: Mapped[bool] = mapped_column(default=False)
    status: Mapped[str] = mapped_column(String(16))
    parameters: Mapped[dict[str, Any]] = mapped_column(default=dict)
    nodes: Mapped[list[Any]] = mapped_column(default=list)
    active_node: Mapped[str | None] = mapped_column(String(63))
    backends: Mapped[list[Any]] = mapped_column(default=list)
    problems: Mapped[list[Any]] = mapped_column(default=list)
    last_check_at: Mapped[datetime | None]
    last_failover: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]


# --- work ----------------------------------------------------------------------------------------------------


class Job(Base):
    """A piece of work. `state`: queued running paused done. `fencing_token` grows with each lease taken of any job.

    A running or paused job holds its `resources` (`host:...`): the job is the lock, so none can be left behind.
    """

    __tablename__ = "jobs"
    __table_args__ = (Index("ix_jobs_state_due", "state", "due_at"),)
    id: Mapped[str] = _pk()
    kind: Mapped[str] = mapped_column(String(32))
    resource_type: Mapped[str] = mapped_column(String(24))
    resource_id: Mapped[str] = mapped_column(String(40), index=True)
    project_id: Mapped[str] = mapped_column(String(40), index=True)
    state: Mapped[str] = mapped_column(String(16), default="queued")
    outcome: Mapped[str | None] = mapped_column(String(16))
    params: Mapped[dict[str, Any]] = mapped_column(default=dict)
    result: Mapped[dict[str, Any] | None]
    resources: Mapped[list[str]] = mapped_column(default=list)
    waiting_for: Mapped[str | None] = mapped_column(String(40))
    attempt: Mapped[int] = mapped_column(default=0)
    lease_owner: Mapped[str | None] = mapped_column(String(80))
    lease_expires_at: Mapped[datetime | None]
    fencing_token: Mapped[int] = mapped_column(BigInteger, default=0, index=True)
    cancel_requested_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    due_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    request_id: Mapped[str | None] = mapped_column(String(64))


class JobLog(Base):
    """A line or block of what Ansible printed. `run` is the fencing token it was printed under: no two runs of a
    job share one. `counter` orders the lines of a run."""

    __tablename__ = "job_logs"
    job_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    run: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    counter: Mapped[int] = mapped_column(Integer, primary_key=True)
    kind: Mapped[str] = mapped_column(String(40))
    host: Mapped[str | None]
    play: Mapped[str | None]
    task: Mapped[str | None]
    role: Mapped[str | None]
    changed: Mapped[bool] = mapped_column(default=False)
    failed: Mapped[bool] = mapped_column(default=False)
    at: Mapped[str] = mapped_column(String(40))
    stdout: Mapped[str] = mapped_column(Text)


# --- what happened -------------------------------------------------------------------------------------------


class StreamHead(Base):
    """One row: the newest seq and hash. Updating it is what puts commits in order; see `store.events`."""

    __tablename__ = "stream_head"
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[str] = mapped_column(String(64))


class Event(Base):
    """An event; DESIGN section 6. Never updated, never deleted."""

    __tablename__ = "events"
    __table_args__ = (
        Index("ix_events_resource", "resource_type", "resource_id", "seq"),
        Index("ix_events_project", "project_id", "seq"),
    )
    seq: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False
    )
    event_id: Mapped[str] = mapped_column(String(40), unique=True)
    action: Mapped[str] = mapped_column(String(64))
    resource_type: Mapped[str] = mapped_column(String(24))
    resource_id: Mapped[str] = mapped_column(String(40))
    project_id: Mapped[str | None] = mapped_column(String(40))
    team_id: Mapped[str | None] = mapped_column(String(40))
    environment_id: Mapped[str | None] = mapped_column(String(40))
    actor_id: Mapped[str] = mapped_column(String(40))
    actor_type: Mapped[str] = mapped_column(String(16))
    source: Mapped[str] = mapped_column(String(16))
    status: Mapped[str] = mapped_column(String(16))
    occurred_at: Mapped[datetime]
    request_id: Mapped[str | None] = mapped_column(String(64))
    detail: Mapped[dict[str, Any]] = mapped_column(default=dict)
    hash: Mapped[str] = mapped_column(String(64))


class IdempotentAnswer(Base):
    """The first answer to a request with an `Idempotency-Key`, kept a day. `status` 0: still being worked on."""

    __tablename__ = "idempotent_answers"
    __table_args__ = (UniqueConstraint("actor_id", "key"),)
    id: Mapped[str] = _pk()
    actor_id: Mapped[str] = mapped_column(String(40))
    key: Mapped[str] = mapped_column(String(120))
    request_digest: Mapped[str] = mapped_column(String(64))
    status: Mapped[int] = mapped_column(default=0)
    body: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(index=True)


# --- the door for AWX's clients ------------------------------------------------------------------------------


class AwxId(Base):
    """The number by which AWX's clients know something. Given once, and never to anything else."""

    __tablename__ = "awx_ids"
    __table_args__ = (UniqueConstraint("kind", "uid"), {"sqlite_autoincrement": True})
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    kind: Mapped[str] = mapped_column(String(24))
    uid: Mapped[str] = mapped_column(String(90))


class AwxBulk(Base):
    """Several templates that were launched at once: a workflow job to AWX's clients, which is as its jobs are."""

    __tablename__ = "awx_bulks"
    __table_args__ = {"sqlite_autoincrement": True}
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str]
    user_name: Mapped[str]
    created_at: Mapped[datetime]


class AwxJob(Base):
    """A release, or a task on an environment's hosts, that was launched as a job of AWX. `asking`: wanted asking asked
    refused canceled. `told`: how far notifications were made of it: nothing, started, ended.

    `wanted` until its preview is there and the apply was asked for; who launched it, and with which token, is asked
    again then. `request_key` makes a request that is sent again the same job.
    A task is deleted with its environment; the row that is left is seen by nobody. `bulk_id` names the launch that it
    was one of several of.
    """

    __tablename__ = "awx_jobs"
    __table_args__ = (
        Index("ix_awx_jobs_asking", "asking", "id"),
        {"sqlite_autoincrement": True},
    )
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    release_id: Mapped[str | None] = mapped_column(ForeignKey("releases.id"), unique=True)
    task_id: Mapped[str | None] = mapped_column(String(40), unique=True)
    template_id: Mapped[int] = mapped_column(Integer, index=True)
    template_name: Mapped[str]
    user_id: Mapped[str] = mapped_column(String(40))
    token_id: Mapped[str | None] = mapped_column(String(40))
    launch_type: Mapped[str] = mapped_column(String(16))
    schedule_id: Mapped[int | None] = mapped_column(Integer, index=True)
    bulk_id: Mapped[int | None] = mapped_column(ForeignKey("awx_bulks.id"), index=True)
    asking: Mapped[str] = mapped_column(String(16), default="wanted")
    asked_at: Mapped[datetime | None]
    explanation: Mapped[str] = mapped_column(Text, default="")
    ended_at: Mapped[datetime | None]
    request_key: Mapped[str | None] = mapped_column(String(64), unique=True)
    told: Mapped[str] = mapped_column(String(16), default="", index=True)
    created_at: Mapped[datetime]


class AwxMark(Base):
    """Where in a job's log its event `counter` ends, so that a page far behind costs what the first one costs."""

    __tablename__ = "awx_marks"
    awx_job_id: Mapped[int] = mapped_column(ForeignKey("awx_jobs.id"), primary_key=True, autoincrement=False)
    counter: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    line: Mapped[int] = mapped_column(Integer)
    job_id: Mapped[str] = mapped_column(String(40))
    run: Mapped[int] = mapped_column(BigInteger)
    log_counter: Mapped[int] = mapped_column(Integer)


class AwxWebhook(Base):
    """What a forge's webhook starts. `mapping`: variable -> dotted path into the payload; it acts as `user_id`."""

    __tablename__ = "awx_webhooks"
    template_uid: Mapped[str] = mapped_column(String(90), primary_key=True)
    forge: Mapped[str] = mapped_column(String(16), primary_key=True)
    key_cipher: Mapped[bytes] = mapped_column(LargeBinary)
    mapping: Mapped[dict[str, Any]] = mapped_column(default=dict)
    events: Mapped[list[str]] = mapped_column(default=list)
    user_id: Mapped[str] = mapped_column(String(40))
    token_id: Mapped[str | None] = mapped_column(String(40))
    created_at: Mapped[datetime]


class AwxDelivery(Base):
    """A webhook's payload that was taken: the same one is not taken twice."""

    __tablename__ = "awx_deliveries"
    template_uid: Mapped[str] = mapped_column(String(90), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    created_at: Mapped[datetime]


class AwxSchedule(Base):
    """Launches a template whenever its rule says so, as the user (and with the token) that set it last.

    `anchor` is the last time of the rule that is known: where counting goes on from.
    """

    __tablename__ = "awx_schedules"
    __table_args__ = (
        UniqueConstraint("template_id", "name"),
        Index("ix_awx_schedules_due", "enabled", "next_run"),
        {"sqlite_autoincrement": True},
    )
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str]
    description: Mapped[str] = mapped_column(Text, default="")
    template_id: Mapped[int] = mapped_column(Integer)
    template_name: Mapped[str]
    project_id: Mapped[str] = mapped_column(String(40), index=True)
    rrule: Mapped[str] = mapped_column(Text)
    extra_data: Mapped[dict[str, Any]] = mapped_column(default=dict)
    scm_branch: Mapped[str] = mapped_column(String(64), default="")
    enabled: Mapped[bool] = mapped_column(default=True)
    anchor: Mapped[datetime | None]
    next_run: Mapped[datetime | None]
    last_result: Mapped[str] = mapped_column(Text, default="")
    user_id: Mapped[str] = mapped_column(String(40))
    token_id: Mapped[str | None] = mapped_column(String(40))
    created_at: Mapped[datetime]
    modified_at: Mapped[datetime]


class AwxNotifier(Base):
    """Where a project's notifications go. `kind`: webhook slack email. What is secret of it is in `secret_cipher`."""

    __tablename__ = "awx_notifiers"
    __table_args__ = (UniqueConstraint("project_id", "name"), {"sqlite_autoincrement": True})
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), index=True)
    name: Mapped[str]
    description: Mapped[str] = mapped_column(Text, default="")
    kind: Mapped[str] = mapped_column(String(16))
    configuration: Mapped[dict[str, Any]] = mapped_column(default=dict)
    secret_cipher: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime]
    modified_at: Mapped[datetime]


class AwxNotifierLink(Base):
    """Which of a template's events are told to which notifier. `event`: started success error."""

    __tablename__ = "awx_notifier_links"
    template_uid: Mapped[str] = mapped_column(String(90), primary_key=True)
    notifier_id: Mapped[int] = mapped_column(
        ForeignKey("awx_notifiers.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    event: Mapped[str] = mapped_column(String(16), primary_key=True)


class AwxNotification(Base):
    """A notification and how its delivery went. `status`: pending successful failed."""

    __tablename__ = "awx_notifications"
    __table_args__ = (
        UniqueConstraint("notifier_id", "awx_job_id", "event"),
        Index("ix_awx_notifications_due", "status", "due_at"),
        {"sqlite_autoincrement": True},
    )
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    notifier_id: Mapped[int] = mapped_column(ForeignKey("awx_notifiers.id", ondelete="CASCADE"), index=True)
    awx_job_id: Mapped[int | None] = mapped_column(ForeignKey("awx_jobs.id"))
    event: Mapped[str] = mapped_column(String(16))
    payload: Mapped[dict[str, Any]] = mapped_column(default=dict)
    status: Mapped[str] = mapped_column(String(16), default="pending")
    error: Mapped[str] = mapped_column(Text, default="")
    attempts: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[datetime]
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
