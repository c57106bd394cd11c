# SPDX-License-Identifier: Apache-2.0
"""The tables of the first release."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make all tables."""
    op.create_table(
        "bindings",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("subject_type", sa.String(length=16), nullable=False),
        sa.Column("subject_id", sa.String(length=40), nullable=False),
        sa.Column("role", sa.String(length=32), nullable=False),
        sa.Column("scope_type", sa.String(length=16), nullable=False),
        sa.Column("scope_id", sa.String(length=40), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bindings")),
        sa.UniqueConstraint(
            "subject_type",
            "subject_id",
            "role",
            "scope_type",
            "scope_id",
            name=op.f("uq_bindings_subject_type_subject_id_role_scope_type_scope_id"),
        ),
    )
    op.create_index(op.f("ix_bindings_subject_id"), "bindings", ["subject_id"], unique=False)
    op.create_table(
        "events",
        sa.Column(
            "seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("event_id", sa.String(length=40), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("resource_type", sa.String(length=24), nullable=False),
        sa.Column("resource_id", sa.String(length=40), nullable=False),
        sa.Column("project_id", sa.String(length=40), nullable=True),
        sa.Column("team_id", sa.String(length=40), nullable=True),
        sa.Column("environment_id", sa.String(length=40), nullable=True),
        sa.Column("actor_id", sa.String(length=40), nullable=False),
        sa.Column("actor_type", sa.String(length=16), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=True),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_events")),
        sa.UniqueConstraint("event_id", name=op.f("uq_events_event_id")),
    )
    op.create_index("ix_events_project", "events", ["project_id", "seq"], unique=False)
    op.create_index("ix_events_resource", "events", ["resource_type", "resource_id", "seq"], unique=False)
    op.create_table(
        "idempotent_answers",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("actor_id", sa.String(length=40), nullable=False),
        sa.Column("key", sa.String(length=120), nullable=False),
        sa.Column("request_digest", sa.String(length=64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_idempotent_answers")),
        sa.UniqueConstraint("actor_id", "key", name=op.f("uq_idempotent_answers_actor_id_key")),
    )
    op.create_index(
        op.f("ix_idempotent_answers_created_at"), "idempotent_answers", ["created_at"], unique=False
    )
    op.create_table(
        "job_logs",
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("run", sa.BigInteger(), nullable=False),
        sa.Column("counter", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=True),
        sa.Column("play", sa.String(length=255), nullable=True),
        sa.Column("task", sa.String(length=255), nullable=True),
        sa.Column("role", sa.String(length=255), nullable=True),
        sa.Column("changed", sa.Boolean(), nullable=False),
        sa.Column("failed", sa.Boolean(), nullable=False),
        sa.Column("at", sa.String(length=40), nullable=False),
        sa.Column("stdout", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "run", "counter", name=op.f("pk_job_logs")),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("resource_type", sa.String(length=24), nullable=False),
        sa.Column("resource_id", sa.String(length=40), nullable=False),
        sa.Column("project_id", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=True),
        sa.Column("params", sa.JSON(), nullable=False),
        sa.Column("result", sa.JSON(), nullable=True),
        sa.Column("resources", sa.JSON(), nullable=False),
        sa.Column("waiting_for", sa.String(length=40), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lease_owner", sa.String(length=80), nullable=True),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("fencing_token", sa.BigInteger(), nullable=False),
        sa.Column("cancel_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("request_id", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
    )
    op.create_index(op.f("ix_jobs_fencing_token"), "jobs", ["fencing_token"], unique=False)
    op.create_index(op.f("ix_jobs_project_id"), "jobs", ["project_id"], unique=False)
    op.create_index(op.f("ix_jobs_resource_id"), "jobs", ["resource_id"], unique=False)
    op.create_index("ix_jobs_state_due", "jobs", ["state", "due_at"], unique=False)
    op.create_table(
        "stream_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stream_head")),
    )
    op.create_table(
        "teams",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_teams")),
        sa.UniqueConstraint("name", name=op.f("uq_teams_name")),
    )
    op.create_table(
        "tickets",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("scope_type", sa.String(length=24), nullable=False),
        sa.Column("scope_id", sa.String(length=40), nullable=False),
        sa.Column("project_id", sa.String(length=40), nullable=False),
        sa.Column("team_id", sa.String(length=40), nullable=True),
        sa.Column("environment_id", sa.String(length=40), nullable=True),
        sa.Column("runtime_type", sa.String(length=16), nullable=False),
        sa.Column("risk_level", sa.String(length=16), nullable=False),
        sa.Column("risk_reasons", sa.JSON(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("required_permission", sa.String(length=48), nullable=False),
        sa.Column("requested_by", sa.String(length=40), nullable=False),
        sa.Column("requested_by_name", sa.String(length=255), nullable=False),
        sa.Column("assigned_to", sa.String(length=40), nullable=True),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.Column("preview_digest", sa.String(length=80), nullable=True),
        sa.Column("min_approvals", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sla_due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("escalated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tickets")),
    )
    op.create_index(op.f("ix_tickets_assigned_to"), "tickets", ["assigned_to"], unique=False)
    op.create_index(op.f("ix_tickets_project_id"), "tickets", ["project_id"], unique=False)
    op.create_index(op.f("ix_tickets_requested_by"), "tickets", ["requested_by"], unique=False)
    op.create_index(op.f("ix_tickets_scope_id"), "tickets", ["scope_id"], unique=False)
    op.create_index("ix_tickets_status_expires", "tickets", ["status", "expires_at"], unique=False)
    op.create_table(
        "users",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("display_name", sa.String(length=255), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("is_disabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("name", name=op.f("uq_users_name")),
    )
    op.create_table(
        "projects",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("team_id", sa.String(length=40), nullable=True),
        sa.Column("policy", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["team_id"], ["teams.id"], name=op.f("fk_projects_team_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_projects")),
        sa.UniqueConstraint("name", name=op.f("uq_projects_name")),
    )
    op.create_index(op.f("ix_projects_team_id"), "projects", ["team_id"], unique=False)
    op.create_table(
        "ticket_actions",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("ticket_id", sa.String(length=40), nullable=False),
        sa.Column("action", sa.String(length=16), nullable=False),
        sa.Column("actor_id", sa.String(length=40), nullable=False),
        sa.Column("actor_name", sa.String(length=255), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["ticket_id"], ["tickets.id"], name=op.f("fk_ticket_actions_ticket_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ticket_actions")),
    )
    op.create_index(op.f("ix_ticket_actions_ticket_id"), "ticket_actions", ["ticket_id"], unique=False)
    op.create_table(
        "tokens",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("user_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("prefix", sa.String(length=16), nullable=False),
        sa.Column("secret_hash", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=True),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_tokens_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
        sa.UniqueConstraint("prefix", name=op.f("uq_tokens_prefix")),
    )
    op.create_index(op.f("ix_tokens_user_id"), "tokens", ["user_id"], unique=False)
    op.create_table(
        "artifacts",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("project_id", sa.String(length=40), nullable=False),
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("media", sa.String(length=128), nullable=False),
        sa.Column("image_ids", sa.JSON(), nullable=False),
        sa.Column("references", sa.JSON(), nullable=False),
        sa.Column("created_by", sa.String(length=40), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("pushed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_artifacts_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_artifacts")),
        sa.UniqueConstraint("project_id", "digest", name=op.f("uq_artifacts_project_id_digest")),
    )
    op.create_index(op.f("ix_artifacts_digest"), "artifacts", ["digest"], unique=False)
    op.create_index(op.f("ix_artifacts_project_id"), "artifacts", ["project_id"], unique=False)
    op.create_table(
        "environments",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("project_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=False),
        sa.Column("runtime_type", sa.String(length=16), nullable=False),
        sa.Column("mode", sa.String(length=24), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("health", sa.JSON(), nullable=False),
        sa.Column("health_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_environments_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_environments")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_environments_project_id_name")),
    )
    op.create_index(op.f("ix_environments_project_id"), "environments", ["project_id"], unique=False)
    op.create_table(
        "hosts",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("project_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("address", sa.String(length=255), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("user", sa.String(length=255), nullable=False),
        sa.Column("become", sa.Boolean(), nullable=False),
        sa.Column("jump_host_id", sa.String(length=40), nullable=True),
        sa.Column("host_key", sa.Text(), nullable=True),
        sa.Column("host_key_fingerprint", sa.String(length=255), nullable=True),
        sa.Column("host_key_status", sa.String(length=16), nullable=False),
        sa.Column("private_key_cipher", sa.LargeBinary(), nullable=True),
        sa.Column("password_cipher", sa.LargeBinary(), nullable=True),
        sa.Column("become_password_cipher", sa.LargeBinary(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["jump_host_id"], ["hosts.id"], name=op.f("fk_hosts_jump_host_id")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_hosts_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hosts")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_hosts_project_id_name")),
    )
    op.create_index(op.f("ix_hosts_project_id"), "hosts", ["project_id"], unique=False)
    op.create_table(
        "registries",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("project_id", sa.String(length=40), nullable=False),
        sa.Column("server", sa.String(length=255), nullable=False),
        sa.Column("username", sa.String(length=255), nullable=False),
        sa.Column("password_cipher", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_registries_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_registries")),
        sa.UniqueConstraint("project_id", "server", name=op.f("uq_registries_project_id_server")),
    )
    op.create_index(op.f("ix_registries_project_id"), "registries", ["project_id"], unique=False)
    op.create_table(
        "services",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("project_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("runtime_type", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_services_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_services")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_services_project_id_name")),
    )
    op.create_index(op.f("ix_services_project_id"), "services", ["project_id"], unique=False)
    op.create_table(
        "clusters",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("project_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("mode", sa.String(length=24), nullable=False),
        sa.Column("environment_id", sa.String(length=40), nullable=True),
        sa.Column("endpoint", sa.String(length=255), nullable=False),
        sa.Column("direct_endpoint", sa.String(length=255), nullable=True),
        sa.Column("ca", sa.Text(), nullable=True),
        sa.Column("insecure_skip_tls_verify", sa.Boolean(), nullable=False),
        sa.Column("kubeconfig_cipher", sa.LargeBinary(), nullable=False),
        sa.Column("credential_kind", sa.String(length=16), nullable=False),
        sa.Column("credential_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("server_version", sa.String(length=64), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("last_check", sa.JSON(), nullable=False),
        sa.Column("last_checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("certificates", sa.JSON(), nullable=False),
        sa.Column("certificates_checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("certificates_expire_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_by", sa.String(length=40), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["environment_id"], ["environments.id"], name=op.f("fk_clusters_environment_id")
        ),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_clusters_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clusters")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_clusters_project_id_name")),
    )
    op.create_index(
        op.f("ix_clusters_credential_expires_at"), "clusters", ["credential_expires_at"], unique=False
    )
    op.create_index(op.f("ix_clusters_environment_id"), "clusters", ["environment_id"], unique=False)
    op.create_index(op.f("ix_clusters_project_id"), "clusters", ["project_id"], unique=False)
    op.create_table(
        "environment_nodes",
        sa.Column("environment_id", sa.String(length=40), nullable=False),
        sa.Column("host_id", sa.String(length=40), nullable=False),
        sa.Column("role", sa.String(length=24), nullable=False),
        sa.ForeignKeyConstraint(
            ["environment_id"], ["environments.id"], name=op.f("fk_environment_nodes_environment_id")
        ),
        sa.ForeignKeyConstraint(["host_id"], ["hosts.id"], name=op.f("fk_environment_nodes_host_id")),
        sa.PrimaryKeyConstraint("environment_id", "host_id", name=op.f("pk_environment_nodes")),
    )
    op.create_table(
        "install_tasks",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("project_id", sa.String(length=40), nullable=False),
        sa.Column("team_id", sa.String(length=40), nullable=True),
        sa.Column("subject", sa.String(length=16), nullable=False),
        sa.Column("environment_id", sa.String(length=40), nullable=True),
        sa.Column("environment_name", sa.String(length=255), nullable=True),
        sa.Column("cluster_id", sa.String(length=40), nullable=True),
        sa.Column("cluster_name", sa.String(length=63), nullable=True),
        sa.Column("stage", sa.String(length=16), nullable=False),
        sa.Column("runtime_type", sa.String(length=16), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("undoes", sa.String(length=40), nullable=True),
        sa.Column("follows", sa.String(length=40), nullable=True),
        sa.Column("follow_asked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("status", sa.String(length=24), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("nodes", sa.JSON(), nullable=False),
        sa.Column("request_cipher", sa.LargeBinary(), nullable=False),
        sa.Column("trigger_source", sa.String(length=16), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=True),
        sa.Column("created_by", sa.String(length=40), nullable=False),
        sa.Column("created_by_name", sa.String(length=255), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("applied_by", sa.String(length=40), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("approval_required", sa.Boolean(), nullable=False),
        sa.Column("ticket_id", sa.String(length=40), nullable=True),
        sa.Column("preview_ref", sa.String(length=40), nullable=True),
        sa.Column("preview", sa.JSON(), nullable=True),
        sa.Column("preview_digest", sa.String(length=80), nullable=True),
        sa.Column("preview_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("preview_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("bundle_digest", sa.String(length=80), nullable=True),
        sa.Column("diagnostics", sa.JSON(), nullable=True),
        sa.Column("cancel_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["cluster_id"], ["clusters.id"], name=op.f("fk_install_tasks_cluster_id")),
        sa.ForeignKeyConstraint(
            ["environment_id"], ["environments.id"], name=op.f("fk_install_tasks_environment_id")
        ),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_install_tasks_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_install_tasks")),
        sa.UniqueConstraint("preview_ref", name=op.f("uq_install_tasks_preview_ref")),
    )
    op.create_index(
        "ix_install_tasks_cluster_created", "install_tasks", ["cluster_id", "created_at", "id"], unique=False
    )
    op.create_index(
        "ix_install_tasks_environment_created",
        "install_tasks",
        ["environment_id", "created_at", "id"],
        unique=False,
    )
    op.create_index(op.f("ix_install_tasks_follows"), "install_tasks", ["follows"], unique=False)
    op.create_index(op.f("ix_install_tasks_project_id"), "install_tasks", ["project_id"], unique=False)
    op.create_table(
        "network_entries",
        sa.Column("cluster_id", sa.String(length=40), nullable=False),
        sa.Column("project_id", sa.String(length=40), nullable=False),
        sa.Column("task_id", sa.String(length=40), nullable=False),
        sa.Column("previous_task_id", sa.String(length=40), nullable=True),
        sa.Column("is_applied", sa.Boolean(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("nodes", sa.JSON(), nullable=False),
        sa.Column("active_node", sa.String(length=63), nullable=True),
        sa.Column("backends", sa.JSON(), nullable=False),
        sa.Column("problems", sa.JSON(), nullable=False),
        sa.Column("last_check_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_failover", sa.JSON(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["cluster_id"], ["clusters.id"], name=op.f("fk_network_entries_cluster_id")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_network_entries_project_id")),
        sa.PrimaryKeyConstraint("cluster_id", name=op.f("pk_network_entries")),
    )
    op.create_index(op.f("ix_network_entries_project_id"), "network_entries", ["project_id"], unique=False)
    op.create_table(
        "service_versions",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("service_id", sa.String(length=40), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("template", sa.Text(), nullable=False),
        sa.Column("variable_schema", sa.JSON(), nullable=False),
        sa.Column("images", sa.JSON(), nullable=False),
        sa.Column("kustomization", sa.JSON(), nullable=True),
        sa.Column("prune_kinds", sa.JSON(), nullable=False),
        sa.Column("strategy", sa.String(length=16), nullable=False),
        sa.Column("strategy_params", sa.JSON(), nullable=False),
        sa.Column("health_timeout", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.Column("created_by", sa.String(length=40), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["service_id"], ["services.id"], name=op.f("fk_service_versions_service_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_service_versions")),
        sa.UniqueConstraint("service_id", "version", name=op.f("uq_service_versions_service_id_version")),
    )
    op.create_index(op.f("ix_service_versions_service_id"), "service_versions", ["service_id"], unique=False)
    op.create_table(
        "variable_values",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("service_id", sa.String(length=40), nullable=False),
        sa.Column("scope_type", sa.String(length=16), nullable=False),
        sa.Column("scope_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("value", sa.JSON(), nullable=True),
        sa.Column("value_cipher", sa.LargeBinary(), nullable=True),
        sa.Column("is_secret", sa.Boolean(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["service_id"], ["services.id"], name=op.f("fk_variable_values_service_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_variable_values")),
        sa.UniqueConstraint(
            "service_id",
            "scope_type",
            "scope_id",
            "name",
            name=op.f("uq_variable_values_service_id_scope_type_scope_id_name"),
        ),
    )
    op.create_index(op.f("ix_variable_values_service_id"), "variable_values", ["service_id"], unique=False)
    op.create_table(
        "install_steps",
        sa.Column("task_id", sa.String(length=40), nullable=False),
        sa.Column("host", sa.String(length=63), nullable=False),
        sa.Column("step", sa.String(length=64), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("duration_ms", sa.Integer(), nullable=True),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("stdout_tail", sa.Text(), nullable=False),
        sa.Column("stderr_tail", sa.Text(), nullable=False),
        sa.Column("error_key", sa.String(length=48), nullable=True),
        sa.Column("remediation", sa.Text(), nullable=True),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["task_id"], ["install_tasks.id"], name=op.f("fk_install_steps_task_id")),
        sa.PrimaryKeyConstraint("task_id", "host", "step", name=op.f("pk_install_steps")),
    )
    op.create_table(
        "targets",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("project_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("environment_id", sa.String(length=40), nullable=False),
        sa.Column("runtime_type", sa.String(length=16), nullable=False),
        sa.Column("host_ids", sa.JSON(), nullable=False),
        sa.Column("cluster_id", sa.String(length=40), nullable=True),
        sa.Column("namespace", sa.String(length=63), nullable=True),
        sa.Column("cluster_scoped", sa.Boolean(), nullable=False),
        sa.Column("cluster_access", sa.JSON(), nullable=False),
        sa.Column("status", sa.JSON(), nullable=False),
        sa.Column("status_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["cluster_id"], ["clusters.id"], name=op.f("fk_targets_cluster_id")),
        sa.ForeignKeyConstraint(
            ["environment_id"], ["environments.id"], name=op.f("fk_targets_environment_id")
        ),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_targets_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_targets")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_targets_project_id_name")),
    )
    op.create_index(op.f("ix_targets_cluster_id"), "targets", ["cluster_id"], unique=False)
    op.create_index(op.f("ix_targets_environment_id"), "targets", ["environment_id"], unique=False)
    op.create_index(op.f("ix_targets_project_id"), "targets", ["project_id"], unique=False)
    op.create_table(
        "releases",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("project_id", sa.String(length=40), nullable=False),
        sa.Column("team_id", sa.String(length=40), nullable=True),
        sa.Column("target_id", sa.String(length=40), nullable=False),
        sa.Column("target_name", sa.String(length=255), nullable=False),
        sa.Column("environment_id", sa.String(length=40), nullable=False),
        sa.Column("environment_name", sa.String(length=255), nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=False),
        sa.Column("runtime_type", sa.String(length=16), nullable=False),
        sa.Column("service_id", sa.String(length=40), nullable=False),
        sa.Column("service_name", sa.String(length=255), nullable=False),
        sa.Column("service_version", sa.String(length=64), nullable=False),
        sa.Column("action", sa.String(length=16), nullable=False),
        sa.Column("strategy", sa.String(length=16), nullable=False),
        sa.Column("strategy_params", sa.JSON(), nullable=False),
        sa.Column("variables", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=24), nullable=False),
        sa.Column("status", sa.String(length=24), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("trigger_source", sa.String(length=16), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=True),
        sa.Column("created_by", sa.String(length=40), nullable=False),
        sa.Column("created_by_name", sa.String(length=255), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("applied_by", sa.String(length=40), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("verified_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("rollback_of", sa.String(length=40), nullable=True),
        sa.Column("restores", sa.String(length=40), nullable=True),
        sa.Column("rolled_back_by", sa.String(length=40), nullable=True),
        sa.Column("approval_required", sa.Boolean(), nullable=False),
        sa.Column("ticket_id", sa.String(length=40), nullable=True),
        sa.Column("preview_ref", sa.String(length=40), nullable=True),
        sa.Column("preview", sa.JSON(), nullable=True),
        sa.Column("preview_digest", sa.String(length=80), nullable=True),
        sa.Column("preview_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("preview_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("inputs_cipher", sa.LargeBinary(), nullable=True),
        sa.Column("payload_cipher", sa.LargeBinary(), nullable=True),
        sa.Column("diagnostics", sa.JSON(), nullable=True),
        sa.Column("cancel_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("kept_until", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_releases_project_id")),
        sa.ForeignKeyConstraint(["service_id"], ["services.id"], name=op.f("fk_releases_service_id")),
        sa.ForeignKeyConstraint(["target_id"], ["targets.id"], name=op.f("fk_releases_target_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_releases")),
        sa.UniqueConstraint("preview_ref", name=op.f("uq_releases_preview_ref")),
    )
    op.create_index(op.f("ix_releases_created_by"), "releases", ["created_by"], unique=False)
    op.create_index(op.f("ix_releases_environment_id"), "releases", ["environment_id"], unique=False)
    op.create_index(op.f("ix_releases_kept_until"), "releases", ["kept_until"], unique=False)
    op.create_index(
        "ix_releases_project_created", "releases", ["project_id", "created_at", "id"], unique=False
    )
    op.create_index(op.f("ix_releases_project_id"), "releases", ["project_id"], unique=False)
    op.create_index(op.f("ix_releases_rollback_of"), "releases", ["rollback_of"], unique=False)
    op.create_index(op.f("ix_releases_service_id"), "releases", ["service_id"], unique=False)
    op.create_index("ix_releases_target_state", "releases", ["target_id", "state"], unique=False)
    _awx_tables()


def _awx_tables() -> None:
    """Make what the door for AWX's clients keeps."""
    op.create_table(
        "awx_deliveries",
        sa.Column("template_uid", sa.String(length=90), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("template_uid", "digest", name=op.f("pk_awx_deliveries")),
    )
    op.create_table(
        "awx_ids",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=24), nullable=False),
        sa.Column("uid", sa.String(length=90), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_awx_ids")),
        sa.UniqueConstraint("kind", "uid", name=op.f("uq_awx_ids_kind_uid")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "awx_schedules",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("template_id", sa.Integer(), nullable=False),
        sa.Column("template_name", sa.String(length=255), nullable=False),
        sa.Column("project_id", sa.String(length=40), nullable=False),
        sa.Column("rrule", sa.Text(), nullable=False),
        sa.Column("extra_data", sa.JSON(), nullable=False),
        sa.Column("scm_branch", sa.String(length=64), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("anchor", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_run", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_result", sa.Text(), nullable=False),
        sa.Column("user_id", sa.String(length=40), nullable=False),
        sa.Column("token_id", sa.String(length=40), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_awx_schedules")),
        sa.UniqueConstraint("template_id", "name", name=op.f("uq_awx_schedules_template_id_name")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_awx_schedules_due", "awx_schedules", ["enabled", "next_run"], unique=False)
    op.create_index(op.f("ix_awx_schedules_project_id"), "awx_schedules", ["project_id"], unique=False)
    op.create_table(
        "awx_webhooks",
        sa.Column("template_uid", sa.String(length=90), nullable=False),
        sa.Column("forge", sa.String(length=16), nullable=False),
        sa.Column("key_cipher", sa.LargeBinary(), nullable=False),
        sa.Column("mapping", sa.JSON(), nullable=False),
        sa.Column("events", sa.JSON(), nullable=False),
        sa.Column("user_id", sa.String(length=40), nullable=False),
        sa.Column("token_id", sa.String(length=40), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("template_uid", "forge", name=op.f("pk_awx_webhooks")),
    )
    op.create_table(
        "awx_notifiers",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("configuration", sa.JSON(), nullable=False),
        sa.Column("secret_cipher", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("modified_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_awx_notifiers_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_awx_notifiers")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_awx_notifiers_project_id_name")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_awx_notifiers_project_id"), "awx_notifiers", ["project_id"], unique=False)
    op.create_table(
        "awx_notifier_links",
        sa.Column("template_uid", sa.String(length=90), nullable=False),
        sa.Column("notifier_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("event", sa.String(length=16), nullable=False),
        sa.ForeignKeyConstraint(
            ["notifier_id"],
            ["awx_notifiers.id"],
            name=op.f("fk_awx_notifier_links_notifier_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("template_uid", "notifier_id", "event", name=op.f("pk_awx_notifier_links")),
    )
    op.create_table(
        "awx_bulks",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("user_name", sa.String(length=255), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_awx_bulks")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "awx_jobs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("release_id", sa.String(length=40), nullable=True),
        sa.Column("task_id", sa.String(length=40), nullable=True),
        sa.Column("template_id", sa.Integer(), nullable=False),
        sa.Column("template_name", sa.String(length=255), nullable=False),
        sa.Column("user_id", sa.String(length=40), nullable=False),
        sa.Column("token_id", sa.String(length=40), nullable=True),
        sa.Column("launch_type", sa.String(length=16), nullable=False),
        sa.Column("schedule_id", sa.Integer(), nullable=True),
        sa.Column("bulk_id", sa.Integer(), nullable=True),
        sa.Column("asking", sa.String(length=16), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("explanation", sa.Text(), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("request_key", sa.String(length=64), nullable=True),
        sa.Column("told", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["bulk_id"], ["awx_bulks.id"], name=op.f("fk_awx_jobs_bulk_id")),
        sa.ForeignKeyConstraint(["release_id"], ["releases.id"], name=op.f("fk_awx_jobs_release_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_awx_jobs")),
        sa.UniqueConstraint("release_id", name=op.f("uq_awx_jobs_release_id")),
        sa.UniqueConstraint("task_id", name=op.f("uq_awx_jobs_task_id")),
        sa.UniqueConstraint("request_key", name=op.f("uq_awx_jobs_request_key")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_awx_jobs_asking", "awx_jobs", ["asking", "id"], unique=False)
    op.create_index(op.f("ix_awx_jobs_bulk_id"), "awx_jobs", ["bulk_id"], unique=False)
    op.create_index(op.f("ix_awx_jobs_schedule_id"), "awx_jobs", ["schedule_id"], unique=False)
    op.create_index(op.f("ix_awx_jobs_template_id"), "awx_jobs", ["template_id"], unique=False)
    op.create_index(op.f("ix_awx_jobs_told"), "awx_jobs", ["told"], unique=False)
    op.create_table(
        "awx_marks",
        sa.Column("awx_job_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("counter", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("run", sa.BigInteger(), nullable=False),
        sa.Column("log_counter", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["awx_job_id"], ["awx_jobs.id"], name=op.f("fk_awx_marks_awx_job_id")),
        sa.PrimaryKeyConstraint("awx_job_id", "counter", name=op.f("pk_awx_marks")),
    )
    op.create_table(
        "awx_notifications",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("notifier_id", sa.Integer(), nullable=False),
        sa.Column("awx_job_id", sa.Integer(), nullable=True),
        sa.Column("event", sa.String(length=16), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["awx_job_id"], ["awx_jobs.id"], name=op.f("fk_awx_notifications_awx_job_id")
        ),
        sa.ForeignKeyConstraint(
            ["notifier_id"],
            ["awx_notifiers.id"],
            name=op.f("fk_awx_notifications_notifier_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_awx_notifications")),
        sa.UniqueConstraint(
            "notifier_id",
            "awx_job_id",
            "event",
            name=op.f("uq_awx_notifications_notifier_id_awx_job_id_event"),
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_awx_notifications_due", "awx_notifications", ["status", "due_at"], unique=False)
    op.create_index(
        op.f("ix_awx_notifications_notifier_id"), "awx_notifications", ["notifier_id"], unique=False
    )
