# SPDX-License-Identifier: Apache-2.0
"""Every error that Tidegate names: its key, its HTTP status, its title, and what to do next.

The keys are stable; the table is what the API answers from and what the error reference is made of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ErrorKind:
    """One row of the table: HTTP status, a short title, a hint that says what to do next."""

    status: int
    title: str
    hint: str


def _kind(status: int, title: str, hint: str) -> ErrorKind:
    return ErrorKind(status, title, hint)


ERRORS: Mapping[str, ErrorKind] = {
    # preview and apply
    "preview_required": _kind(422, "A preview is required", "Ask for a preview, then apply its preview_ref."),
    "preview_expired": _kind(409, "The preview has expired", "Preview again and apply the new preview_ref."),
    "preview_mismatch": _kind(
        409,
        "The request differs from what was previewed",
        "Apply with the parameters of the preview, or preview again.",
    ),
    "preview_stale": _kind(
        409,
        "The target moved since the preview",
        "Preview again to see what changed, then apply the new preview.",
    ),
    "preview_used": _kind(409, "The preview was used already", "A preview is applied once; preview again."),
    "release_not_found": _kind(404, "No such release", "List releases to see those you may read."),
    "release_state_invalid": _kind(
        409, "The release is in another state", "Read the release again before you act on it."
    ),
    "approval_required": _kind(
        409, "The release waits for an approval", "Ask somebody who may approve to decide its ticket."
    ),
    "target_locked": _kind(
        409, "Another operation holds the target", "Wait for the holder named in the detail to end."
    ),
    # approvals
    "ticket_not_found": _kind(404, "No such ticket", "List the inbox to see the tickets you may read."),
    "ticket_expired": _kind(409, "The ticket has expired", "Preview and apply again to get a new ticket."),
    "ticket_decided": _kind(
        409, "The ticket was decided already", "Read the ticket to see who decided what."
    ),
    "ticket_scope_mismatch": _kind(
        409,
        "The ticket is about something else",
        "Read the ticket again: what you decide on is not what it covers.",
    ),
    "self_approval_denied": _kind(
        403, "Nobody decides their own request", "Ask another person who may approve."
    ),
    "approval_permission_denied": _kind(
        403,
        "You may not decide this ticket",
        "The ticket names the permission it needs; ask somebody who has it.",
    ),
    # bundle and artifacts
    "bundle_index_missing": _kind(
        422, "The bundle has no index", "Check that script/manifests/index.yaml is there."
    ),
    "bundle_index_invalid": _kind(
        422, "The bundle's index is not valid", "Mend the fields named under errors."
    ),
    "artifact_missing": _kind(
        422, "An artifact is missing", "Push the archive first: tidegate artifact push FILE."
    ),
    "artifact_checksum_mismatch": _kind(
        422,
        "The content does not have the digest that was promised",
        "Send the file again; check it was not altered.",
    ),
    "artifact_unlisted": _kind(
        422, "The bundle holds a file that its list does not name", "Remove it or lock again."
    ),
    "artifact_in_use": _kind(
        409,
        "The artifact is used",
        "Delete the versions that name it first: tidegate service version delete.",
    ),
    "bundle_signature_invalid": _kind(422, "The bundle's signature is not valid", "Sign with a trusted key."),
    "artifact_version_unsupported": _kind(
        422, "That version is not supported", "Choose a version that the index supports."
    ),
    "hook_missing": _kind(422, "A hook is missing", "Check the hooks that the index names."),
    # hosts
    "ssh_unreachable": _kind(
        502, "The host does not answer on SSH", "Check address, port and network, then try again."
    ),
    "ssh_auth_failed": _kind(502, "The host refused the login", "Check the user and its key or password."),
    "ssh_host_key_mismatch": _kind(
        502,
        "The host shows another key than the pinned one",
        "If the host was rebuilt, compare the fingerprint on its console, then confirm the new key.",
    ),
    "host_key_unconfirmed": _kind(
        409,
        "The host's key was not confirmed",
        "Compare the fingerprint with the host's console, then confirm it.",
    ),
    "preflight_failed": _kind(
        422, "The host is not fit for this", "Mend what the checks name, then preview again."
    ),
    "node_role_invalid": _kind(422, "A node's role does not fit", "Use a role of the environment's runtime."),
    "insufficient_nodes": _kind(422, "Too few nodes", "Add hosts to the environment or the target."),
    "hook_failed": _kind(422, "A hook failed", "Read the hook's output in the task's log."),
    # clusters
    "cluster_not_found": _kind(404, "No such cluster", "List clusters to see those you may read."),
    "kubeconfig_invalid": _kind(422, "The kubeconfig is not valid", "Mend the fields named under errors."),
    "kubeconfig_unsafe": _kind(
        422, "The kubeconfig would run code or read files here", "Use embedded data only."
    ),
    "certificate_invalid": _kind(422, "The certificate is not valid", "Check the PEM text and its dates."),
    "endpoint_invalid": _kind(422, "The endpoint is not allowed", "Give an https URL of a cluster."),
    "cluster_unreachable": _kind(
        502, "The cluster does not answer", "Check endpoint and network, then try again."
    ),
    "cluster_permission_insufficient": _kind(
        422, "The credential may not do what a release needs", "Grant it."
    ),
    "kubeadm_init_failed": _kind(502, "kubeadm init failed", "Read the step's output."),
    "kubeadm_join_failed": _kind(502, "kubeadm join failed", "Read the step's output."),
    "cni_install_failed": _kind(502, "The cluster network was not installed", "Read the step's output."),
    "node_drain_failed": _kind(
        502,
        "Pods stay on a node that is to leave",
        "The step names the pods, and the disruption budgets that hold them; change these, then retry.",
    ),
    # compose
    "compose_invalid": _kind(
        422, "The Compose project is not valid", "Mend the compose file where the detail says."
    ),
    "compose_up_failed": _kind(
        502, "Compose could not bring the project up", "Read the diagnostics of the release."
    ),
    "compose_unhealthy": _kind(
        502, "The project did not become healthy", "Read the container's log in the diagnostics."
    ),
    "image_missing": _kind(
        422, "An image is nowhere to be had", "Push its archive, or check reference and registry."
    ),
    # releases to clusters
    "manifest_invalid": _kind(422, "A manifest is not valid", "Mend the manifest where the detail says."),
    "kubectl_missing": _kind(
        422, "kubectl is not installed on the worker", "Install kubectl there, or give plain manifests."
    ),
    "namespace_missing": _kind(
        422,
        "The namespace is not there",
        "Make the namespace, or let a target that may hold cluster objects do it.",
    ),
    "api_version_gone": _kind(
        422, "The cluster does not serve that API version", "Move the manifest to a version that it serves."
    ),
    "field_conflict": _kind(
        409,
        "Another field manager owns a field",
        "Leave the field to its owner, or preview again with force_conflicts: true to take it over: in strategy_params, "
        "or of a rollback beside to_release_id (`tidegate release rollback --force-conflicts`).",
    ),
    "quota_exceeded": _kind(422, "A quota of the namespace is used up", "Free quota, or ask for less."),
    "pull_secret_missing": _kind(
        422,
        "An image pull secret is not in the namespace",
        "Make the secret, or take its name off the manifest.",
    ),
    "rollout_failed": _kind(
        502, "The rollout cannot become ready", "Read conditions, events and logs in the diagnostics."
    ),
    "rollout_timeout": _kind(
        504,
        "The rollout was not ready in time",
        "Read how far it came, then raise health_timeout or mend it.",
    ),
    # network entry
    "vip_conflict": _kind(409, "The virtual IP is in use", "Choose an address that nobody answers on."),
    "vip_unreachable": _kind(502, "The virtual IP does not answer", "Read the task's steps."),
    "kernel_module_missing": _kind(422, "A kernel module is missing", "Install or load it on the host."),
    "keepalived_config_invalid": _kind(422, "keepalived refuses its configuration", "Read the detail."),
    "backend_nodes_invalid": _kind(
        422, "The back-end nodes do not fit", "Name at least two nodes of the cluster."
    ),
    # general
    "validation_error": _kind(422, "The request is not valid", "Mend the fields named under errors."),
    "authentication_required": _kind(
        401, "Who you are is not known", "Send a token: Authorization: Bearer tg_..."
    ),
    "token_expired": _kind(401, "The token has expired", "Make a new token: tidegate token create."),
    "permission_denied": _kind(403, "You may not do this", "The detail names the permission it needs."),
    "not_found": _kind(
        404, "There is no such thing", "Check the id; what is outside your scope is not shown."
    ),
    "method_not_allowed": _kind(405, "That method is not for this resource", "See /api/v1/openapi.json."),
    "not_acceptable": _kind(406, "No such representation", "Ask for application/json."),
    "conflict": _kind(
        409, "It conflicts with what is there", "Read the resource again before you change it."
    ),
    "idempotency_key_reused": _kind(
        422, "The Idempotency-Key was used for another request", "Use a new key for a new request."
    ),
    "resource_locked": _kind(409, "Another operation holds the resource", "Wait for the holder to end."),
    "resource_in_use": _kind(409, "Something uses it still", "Delete what the detail names first."),
    "payload_too_large": _kind(413, "The body is too large", "Send less; archives go to /api/v1/artifacts."),
    "unsupported_media_type": _kind(415, "That content type is not taken", "Send application/json."),
    "rate_limited": _kind(429, "Too many requests", "Wait as long as Retry-After says."),
    "storage_full": _kind(
        507, "There is no room left", "Free disk space; `tidegate artifact gc` removes what nothing uses."
    ),
    "cancelled": _kind(409, "It was cancelled", "Preview and apply again when you want it after all."),
    "worker_lost": _kind(
        500, "The worker was lost", "Read the diagnostics, check the target's status, then preview again."
    ),
    "timeout": _kind(504, "It took too long", "Read how far it came in the timeline."),
    "internal_error": _kind(500, "Tidegate itself failed", "Look for the request id in the server's log."),
}


class Problem(Exception):
    """Something a caller is told: an error key, what happened here, and per-field errors.

    `detail` never carries a secret. `extra` holds members of the problem document beside the standard ones
    (`states`, `moved`, `holder`).
    """

    def __init__(
        self,
        error_key: str,
        detail: str = "",
        *,
        hint: str | None = None,
        errors: Mapping[str, Any] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        kind = ERRORS[error_key]
        super().__init__(f"{error_key}: {detail or kind.title}")
        self.error_key = error_key
        self.status = kind.status
        self.title = kind.title
        self.detail = detail or kind.title
        self.hint = hint or kind.hint
        self.errors = dict(errors or {})
        self.extra = dict(extra or {})

    def document(self, instance: str = "") -> dict[str, Any]:
        """Return the RFC 9457 document."""
        document: dict[str, Any] = {
            "type": f"urn:tidegate:error:{self.error_key}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
            "error_key": self.error_key,
            "hint": self.hint,
            "errors": self.errors,
        }
        document.update(self.extra)
        return document
