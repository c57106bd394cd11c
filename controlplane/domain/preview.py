# SPDX-License-Identifier: Apache-2.0
"""What a preview binds, its digest, and when an apply of it is refused. DESIGN section 3, preview binding."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from controlplane.domain.canonical import digest
from controlplane.domain.errors import Problem


@dataclass(frozen=True)
class Binding:
    """Everything that an apply is held to. Secret variables stand in here as HMACs, never as themselves."""

    service_id: str
    service_version: str
    service_revision: str
    target_id: str
    environment_id: str
    stage: str
    action: str
    strategy: str
    strategy_params: Mapping[str, Any]
    variables: Mapping[str, Any]
    artifact_digest: str
    image_digests: Mapping[str, Any]
    bundle_digest: str | None
    fingerprints: Mapping[str, str]

    def digest(self) -> str:
        """Return the SHA-256 over all of it, as `sha256:...`."""
        return digest(asdict(self))


# What an apply may repeat of its preview, and the field of the binding that it is held against.
REPEATABLE: Mapping[str, str] = {
    "target_id": "target_id",
    "version": "service_version",
    "strategy": "strategy",
    "strategy_params": "strategy_params",
    "variables": "variables",
}


def differing(bound: Mapping[str, Any], repeated: Mapping[str, Any]) -> list[str]:
    """Return the names of repeated parameters that differ from what was previewed, in order."""
    return sorted(name for name, value in repeated.items() if value is not None and bound.get(name) != value)


def check_usable(
    *,
    preview_ref: str | None,
    state: str,
    used_at: datetime | None,
    expires_at: datetime | None,
    now: datetime,
) -> None:
    """Let an apply pass whose preview is complete, unused and young enough.

    Raises:
        Problem: `preview_required`, `preview_used`, `preview_expired`.
    """
    if preview_ref is None or expires_at is None:
        raise Problem("preview_required", "the preview is not complete, or its checks failed")
    if used_at is not None:
        raise Problem("preview_used")
    if state == "expired" or now >= expires_at:
        raise Problem("preview_expired", f"it was good until {expires_at:%Y-%m-%dT%H:%M:%SZ}")
    if state != "preview":
        raise Problem("preview_used")


def told_against(document: Mapping[str, Any] | None) -> str:
    """Return what a preview shows against itself, in one line; nothing where it shows none."""
    checks = blocking((document or {}).get("checks", []))
    return "; ".join(f"{check.get('code')}: {check.get('message')}" for check in checks)


def blocking(checks: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the checks that keep a preview from getting its ref."""
    return [check for check in checks if check.get("level") == "blocking"]
