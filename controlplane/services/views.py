# SPDX-License-Identifier: Apache-2.0
"""Releases, tickets and jobs as every door shows them: JSON-ready, with nothing secret in them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from controlplane.domain.release import read_state
from controlplane.store.events import rfc3339
from controlplane.store.tables import (
    Cluster,
    InstallStep,
    InstallTask,
    Job,
    NetworkEntry,
    Release,
    Ticket,
    TicketAction,
)


def moment(value: datetime | None) -> str | None:
    """Return a time as RFC 3339 text, None for none."""
    return rfc3339(value) if value else None


def release(row: Release) -> dict[str, Any]:
    """Return the standard fields of a release. DESIGN section 3."""
    return {
        "release_id": row.id,
        "status": row.status,
        "lifecycle_state": str(read_state(row.state)),
        "runtime_type": row.runtime_type,
        "approval_required": row.approval_required,
        "approval_ticket": row.ticket_id,
        "preview_ref": row.preview_ref,
        "preview_digest": row.preview_digest,
        "preview_expires_at": moment(row.preview_expires_at),
        "diagnostics_json": row.diagnostics,
        "project_id": row.project_id,
        "action": row.action,
        "service": row.service_name,
        "service_id": row.service_id,
        "service_version": row.service_version,
        "target": row.target_name,
        "target_id": row.target_id,
        "environment": row.environment_name,
        "environment_id": row.environment_id,
        "stage": row.stage,
        "strategy": row.strategy,
        "strategy_params": row.strategy_params,
        "variables": row.variables,
        "trigger_source": row.trigger_source,
        "created_by": row.created_by,
        "created_by_name": row.created_by_name,
        "created_at": moment(row.created_at),
        "started_at": moment(row.started_at),
        "finished_at": moment(row.finished_at),
        "rollback_of": row.rollback_of,
        "restores": row.restores,
        "rolled_back_by": row.rolled_back_by,
        "cancel_requested_at": moment(row.cancel_requested_at),
        "kept_until": moment(row.kept_until),
        "version": row.version,
    }


def preview(row: Release) -> dict[str, Any]:
    """Return the whole preview of a release: what would change, the checks, the risk, and its ref."""
    document = row.preview or {}
    return {
        "release_id": row.id,
        "preview_ref": row.preview_ref,
        "preview_digest": row.preview_digest,
        "preview_expires_at": moment(row.preview_expires_at),
        "status": row.status,
        "strategy": row.strategy,
        "strategy_params": row.strategy_params,
        "summary": document.get("summary", {}),
        "hosts": document.get("hosts", {}),
        "checks": document.get("checks", []),
        "risk_level": document.get("risk_level"),
        "risk_reasons": document.get("risk_reasons", []),
        "approval": document.get("approval"),
        "binding": document.get("binding"),
    }


def task(row: InstallTask) -> dict[str, Any]:
    """Return the fields of a task, with those of what it is about."""
    owner: dict[str, Any] = {"cluster": row.cluster_name, "cluster_id": row.cluster_id}
    if row.subject == "install":
        owner = {"environment": row.environment_name, "environment_id": row.environment_id}
    return {
        **owner,
        "task_id": row.id,
        "kind": row.kind,
        "state": row.state,
        "status": row.status,
        "project_id": row.project_id,
        "stage": row.stage,
        "runtime_type": row.runtime_type,
        "nodes": row.nodes,
        "undoes": row.undoes,
        "approval_required": row.approval_required,
        "approval_ticket": row.ticket_id,
        "preview_ref": row.preview_ref,
        "preview_digest": row.preview_digest,
        "preview_expires_at": moment(row.preview_expires_at),
        "bundle_digest": row.bundle_digest,
        "diagnostics_json": row.diagnostics,
        "trigger_source": row.trigger_source,
        "created_by": row.created_by,
        "created_by_name": row.created_by_name,
        "created_at": moment(row.created_at),
        "started_at": moment(row.started_at),
        "finished_at": moment(row.finished_at),
        "cancel_requested_at": moment(row.cancel_requested_at),
        "version": row.version,
    }


def post_task(row: InstallTask) -> dict[str, Any]:
    """Return what is told of a task beside what it followed: the rest is read under its own path."""
    named = {"task_id": row.id, "type": "lvs_vip", "follows": row.follows, "cluster_id": row.cluster_id}
    found = {"state": row.state, "status": row.status, "approval_ticket": row.ticket_id}
    return {**named, **found, "diagnostics_json": row.diagnostics}


def task_preview(row: InstallTask) -> dict[str, Any]:
    """Return the whole preview of a task: what each host is, what would be done there, what stands against it."""
    document = row.preview or {}
    if row.subject == "install":
        own = {
            "inputs": document.get("inputs", []),
            "bundle": document.get("bundle"),
            "network_entry": document.get("network_entry", {"mode": "none"}),
        }
    elif row.subject == "cert_rotation":
        own = {name: document.get(name) for name in ("within_days", "needed", "first_expires_at")}
    else:
        own = {"lvs_vip": document.get("lvs_vip"), "remove": document.get("remove", False)}
    return {
        **own,
        "task_id": row.id,
        "preview_ref": row.preview_ref,
        "preview_digest": row.preview_digest,
        "preview_expires_at": moment(row.preview_expires_at),
        "status": row.status,
        "summary": document.get("summary", {}),
        "hosts": document.get("hosts", {}),
        "checks": document.get("checks", []),
        "risk_level": document.get("risk_level"),
        "risk_reasons": document.get("risk_reasons", []),
        "approval": document.get("approval"),
        "binding": document.get("binding"),
    }


def network_entry(cluster: Cluster, row: NetworkEntry | None) -> dict[str, Any]:
    """Return how a cluster's entry is, None for a cluster without one."""
    parameters = row.parameters if row else {}
    return {
        "cluster_id": cluster.id,
        "cluster": cluster.name,
        "mode": "lvs_vip" if row else "none",
        "status": row.status if row else "none",
        "vip_address": parameters.get("vip_address"),
        "active_node": row.active_node if row else None,
        "backends": row.backends if row else [],
        "problems": row.problems if row else [],
        "nodes": row.nodes if row else [],
        "lvs_vip": parameters or None,
        "task_id": row.task_id if row else None,
        "previous_task_id": row.previous_task_id if row else None,
        "connection": {
            "endpoint": cluster.endpoint,
            "through_vip": cluster.direct_endpoint is not None,
            "direct_endpoint": cluster.direct_endpoint,
        },
        "last_check_at": moment(row.last_check_at) if row else None,
        "last_failover": row.last_failover if row else None,
    }


def install_step(row: InstallStep) -> dict[str, Any]:
    """Return a step of a task on a host."""
    return {
        "host": row.host,
        "step": row.step,
        "status": row.status,
        "attempt": row.attempt,
        "started_at": moment(row.started_at),
        "finished_at": moment(row.finished_at),
        "duration_ms": row.duration_ms,
        "exit_code": row.exit_code,
        "stdout_tail": row.stdout_tail,
        "stderr_tail": row.stderr_tail,
        "error_key": row.error_key,
        "remediation": row.remediation,
        "detail": row.detail,
    }


def ticket(row: Ticket) -> dict[str, Any]:
    """Return the fields of a ticket. DESIGN section 4."""
    return {
        "ticket": row.id,
        "scope_type": row.scope_type,
        "scope_id": row.scope_id,
        "project_id": row.project_id,
        "team_id": row.team_id,
        "environment_id": row.environment_id,
        "runtime_type": row.runtime_type,
        "risk_level": row.risk_level,
        "risk_reasons": row.risk_reasons,
        "priority": row.priority,
        "status": row.status,
        "required_permission": row.required_permission,
        "requested_by": row.requested_by,
        "requested_by_name": row.requested_by_name,
        "assigned_to": row.assigned_to,
        "summary": row.summary,
        "detail": row.detail,
        "preview_digest": row.preview_digest,
        "min_approvals": row.min_approvals,
        "created_at": moment(row.created_at),
        "expires_at": moment(row.expires_at),
        "sla_due_at": moment(row.sla_due_at),
        "decided_at": moment(row.decided_at),
        "version": row.version,
    }


def ticket_action(row: TicketAction) -> dict[str, Any]:
    """Return what somebody did to a ticket."""
    return {
        "action": row.action,
        "actor_id": row.actor_id,
        "actor_name": row.actor_name,
        "comment": row.comment,
        "occurred_at": moment(row.occurred_at),
    }


def job(row: Job) -> dict[str, Any]:
    """Return a job: what it is for, where it stands, who holds it and what it waits for."""
    return {
        "job_id": row.id,
        "kind": row.kind,
        "resource_type": row.resource_type,
        "resource_id": row.resource_id,
        "project_id": row.project_id,
        "state": row.state,
        "outcome": row.outcome,
        "attempt": row.attempt,
        "resources": row.resources,
        "waiting_for": row.waiting_for,
        "lease_owner": row.lease_owner,
        "lease_expires_at": moment(row.lease_expires_at),
        "created_at": moment(row.created_at),
        "started_at": moment(row.started_at),
        "finished_at": moment(row.finished_at),
        "cancel_requested_at": moment(row.cancel_requested_at),
    }
