# SPDX-License-Identifier: Apache-2.0
"""Every event that can happen, and the hash that chains each to the one before. DESIGN section 6."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

GENESIS = "0" * 64

RESOURCE_ACTIONS: Mapping[str, list[str]] = {
    "release": [
        "previewed",
        "preview_failed",
        "apply_requested",
        "pending_approval",
        "approved",
        "rejected",
        "expired",
        "cancelled",
        "applying",
        "step_started",
        "step_succeeded",
        "step_failed",
        "step_progress",
        "applied",
        "failed",
        "rollback_requested",
        "rollback_completed",
        "rollback_failed",
        "waiting_lock",
        "paused",
        "watch_failed",
        "promoted",
        "aborted",
        "resumed",
        "cancel_requested",
    ],
    "approval": [
        "ticket_created",
        "ticket_assigned",
        "ticket_viewed",
        "ticket_commented",
        "ticket_approved",
        "ticket_rejected",
        "ticket_expired",
        "ticket_cancelled",
        "ticket_escalated",
    ],
    "environment": [
        "install_previewed",
        "install_preview_failed",
        "install_requested",
        "install_pending_approval",
        "install_approved",
        "install_rejected",
        "install_expired",
        "install_cancelled",
        "install_cancel_requested",
        "install_waiting_lock",
        "install_retried",
        "install_resumed",
        "install_started",
        "install_step_started",
        "install_step_succeeded",
        "install_step_failed",
        "install_succeeded",
        "install_failed",
        "install_post_task_queued",
        "install_post_task_refused",
        "install_rollback_started",
        "install_rollback_succeeded",
        "install_rollback_failed",
        "health_checked",
    ],
    "cluster": [
        "created",
        "import_succeeded",
        "import_failed",
        "connection_test_succeeded",
        "connection_test_failed",
        "gone",
        "certificates_expiring",
        "cert_rotation_previewed",
        "cert_rotation_preview_failed",
        "cert_rotation_requested",
        "cert_rotation_pending_approval",
        "cert_rotation_approved",
        "cert_rotation_rejected",
        "cert_rotation_expired",
        "cert_rotation_cancelled",
        "cert_rotation_cancel_requested",
        "cert_rotation_waiting_lock",
        "cert_rotation_retried",
        "cert_rotation_resumed",
        "cert_rotation_started",
        "cert_rotation_step_started",
        "cert_rotation_step_succeeded",
        "cert_rotation_step_failed",
        "cert_rotation_succeeded",
        "cert_rotation_failed",
    ],
    "network_entry": [
        "previewed",
        "preview_failed",
        "apply_requested",
        "pending_approval",
        "approved",
        "rejected",
        "expired",
        "cancelled",
        "cancel_requested",
        "waiting_lock",
        "retried",
        "resumed",
        "started",
        "step_started",
        "step_succeeded",
        "step_failed",
        "ready",
        "failed",
        "rolled_back",
        "failover_observed",
        "degraded",
        "recovered",
        "post_task_refused",
    ],
    "access": ["denied", "login_failed", "token_created", "token_revoked", "role_bound", "role_unbound"],
    "resource": ["created", "updated", "deleted", "host_key_pinned", "drift_found"],
}

ACTIONS = frozenset(f"{group}.{action}" for group, actions in RESOURCE_ACTIONS.items() for action in actions)
STATUSES = frozenset({"success", "failed", "warning", "running"})

# What the end and the request of a network entry's task are called; all else is called as for other tasks.
_ENTRY_ACTIONS: Mapping[tuple[str, str], str] = {
    ("apply", "succeeded"): "ready",
    ("rollback", "succeeded"): "rolled_back",
    ("failover_test", "succeeded"): "failover_observed",
}


def task_action(subject: str, kind: str, action: str) -> str:
    """Return what an event about a task is called.

    Args:
        subject: what the task is about: `install`, `network_entry` or `cert_rotation`.
        kind: what it does there: `install`, `apply`, `rollback`, `failover_test`, `rotate`.
        action: what happened to it: `requested`, `step_failed`, `succeeded`...
    """
    if subject == "network_entry":
        named = "apply_requested" if action == "requested" else _ENTRY_ACTIONS.get((kind, action), action)
        return f"network_entry.{named}"
    if subject == "cert_rotation":
        return f"cluster.cert_rotation_{action}"
    if kind == "rollback" and action in ("started", "succeeded", "failed"):
        action = f"rollback_{action}"
    return f"environment.install_{action}"


# What the hash covers, in this order of names. Adding a field would break every chain that is kept elsewhere.
HASHED = [
    "seq",
    "event_id",
    "action",
    "resource_type",
    "resource_id",
    "project_id",
    "team_id",
    "environment_id",
    "actor_id",
    "actor_type",
    "source",
    "status",
    "occurred_at",
    "request_id",
    "detail",
]


def chain_hash(previous: str, event: Mapping[str, Any]) -> str:
    """Return the SHA-256 (hex) of the previous hash and this event in canonical JSON.

    Args:
        previous: hash of the event before, `GENESIS` for the first.
        event: the fields of `HASHED`; `occurred_at` as RFC 3339 text.
    """
    text = json.dumps(
        {name: event.get(name) for name in HASHED},
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
        allow_nan=False,
    )
    return hashlib.sha256(
        previous.encode("ascii") + b"\n" + text.encode("utf-8", "surrogatepass")
    ).hexdigest()
