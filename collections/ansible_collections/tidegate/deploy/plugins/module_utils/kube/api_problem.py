# SPDX-License-Identifier: Apache-2.0
"""What a server's refusal means for a release, in Tidegate's own error keys. Pure."""

from __future__ import annotations

from ..release.errors import ReleaseError
from . import field_owners
from .session import ApiError

POLICY_HINT = "See the cluster's admission policies and the namespace's pod security level."
_BUSY = (429, 502, 503, 504)


def problem(error: ApiError, title: str) -> ReleaseError:
    """The error for an object (or whatever `title` names) that the server refused."""
    said = f"{title}: {error}"
    if error.status == 401:
        return ReleaseError(
            "cluster_permission_insufficient", "the cluster does not know the credential (any more)",
            "Renew the cluster's credential.",
        )  # fmt: skip
    if error.status == 403:
        return _forbidden(said)
    if error.status == 404:
        if str(error).startswith("namespaces "):
            return ReleaseError("namespace_missing", said, "Make the namespace, or let the release hold it.")
        return ReleaseError(
            "api_version_gone",
            said,
            "The server does not serve this kind in this version: see `kubectl api-versions`.",
        )
    found = field_owners.conflicts(error.document) if error.status == 409 else []
    if found:
        fields = ", ".join(f"{one['field']} ({one['manager']})" for one in found)
        return ReleaseError(
            "field_conflict", f"{title}: others own {fields}",
            field_owners.HINT, conflicts=found,
        )  # fmt: skip
    if error.status == 409:
        return ReleaseError("conflict", said, "Somebody else changed it at the same time: try again.")
    if error.status in _BUSY:
        return ReleaseError("cluster_unreachable", said, "See that its API answers from here.")
    if error.status < 500 or _is_typing(error):
        hint = "Correct the manifests."
        if is_immutable(error):
            hint = "The field cannot be changed: give the object another name, or delete it first."
        return ReleaseError("manifest_invalid", said, hint)
    return ReleaseError("internal_error", said, "See the API server's log.")


def is_immutable(error: ApiError) -> bool:
    """Was it refused because a field of a live object cannot be changed?"""
    said = str(error)
    return error.status == 422 and (
        "immutable" in said or "updates to statefulset spec" in said or "may not change" in said
    )


def _is_typing(error: ApiError) -> bool:
    """Servers answer 500 for what does not fit the schema of a kind."""
    return "failed to create typed patch object" in str(error)


def _forbidden(said: str) -> ReleaseError:
    if "exceeded quota" in said:
        return ReleaseError("quota_exceeded", said, "Raise the namespace's quota, or ask for less.")
    if " cannot " in said and " resource " in said:
        return ReleaseError(
            "cluster_permission_insufficient", said, "Give the cluster's credential this permission."
        )
    return ReleaseError("manifest_invalid", said, POLICY_HINT)
