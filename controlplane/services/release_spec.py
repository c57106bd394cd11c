# SPDX-License-Identifier: Apache-2.0
"""The release spec: the one document in which a playbook is told what to preview or apply."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from controlplane.ports.runner import RunHost
from controlplane.services import hosts, registries
from controlplane.services.core import Core
from controlplane.store.tables import Host, Release, Service, ServiceVersion, Target

API = "tidegate.release/v1"


def project_name(service: str, target: str) -> str:
    """Return the Compose project of a service on a target: the same for each release, one for each target."""
    return f"{service}-{target}"[:63].strip("-_")


def preview_spec(core: Core, session: Session, release: Release) -> dict[str, Any]:
    """Return what a preview is made from: the template, or for a rollback the stored release itself."""
    spec = _base(core, session, release)
    version = _version(session, release)
    inputs = json.loads(core.vault.decrypt(release.inputs_cipher)) if release.inputs_cipher else {}
    spec |= {
        "compose": version.template,
        "variables": {**inputs.get("plain", {}), **inputs.get("secret", {})},
        "variable_schema": version.variable_schema,
    }
    if release.payload_cipher:
        payload = json.loads(core.vault.decrypt(release.payload_cipher))
        spec |= {"rendered": payload["rendered"], "resolved_images": payload["resolved_images"]}
    return spec


def apply_spec(core: Core, session: Session, release: Release, fencing_token: int) -> dict[str, Any]:
    """Return what is applied: byte for byte what the preview rendered, held to the state it was shown against."""
    payload = json.loads(core.vault.decrypt(release.payload_cipher or b""))
    return {
        **_stored(core, session, release, payload),
        "fingerprints": payload["fingerprints"],
        "fingerprint_parts": payload["fingerprint_parts"],
        "compare_fingerprint": True,
        "fencing_token": fencing_token,
    }


def stored_spec(core: Core, session: Session, release: Release) -> dict[str, Any]:
    """Return what previewing a release's stored project again needs: a preview of it says what has drifted."""
    return _stored(core, session, release, json.loads(core.vault.decrypt(release.payload_cipher or b"")))


def revision(session: Session, release: Release) -> str:
    """Return the digest of the service version that is released."""
    return _version(session, release).digest


def run_hosts(core: Core, session: Session, target: Target) -> list[RunHost]:
    """Return the target's hosts with what is needed to reach them.

    Raises:
        Problem: `host_key_unconfirmed`.
    """
    rows = session.scalars(select(Host).where(Host.id.in_(target.host_ids)).order_by(Host.name))
    return [
        RunHost(
            name=host.name,
            access=hosts.run_access(core, session, host),
            become=host.become,
            become_password=_open(core, host.become_password_cipher),
        )
        for host in rows
    ]


def secret_env(core: Core) -> Mapping[str, str]:
    """Return what reaches a playbook through its environment only."""
    return {"TIDEGATE_HMAC_KEY": core.vault.hmac_key().hex()}


def _base(core: Core, session: Session, release: Release) -> dict[str, Any]:
    version = _version(session, release)
    return {
        "api": API,
        "release_id": release.id,
        "service": release.service_name,
        "target": release.target_name,
        "environment": release.environment_name,
        "project": project_name(release.service_name, release.target_name),
        "images": [_archive(core, image) for image in version.images],
        "registries": registries.for_project(core, session, release.project_id),
        "strategy": release.strategy,
        "strategy_params": release.strategy_params,
        "health_timeout": version.health_timeout,
    }


def _stored(core: Core, session: Session, release: Release, payload: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **_base(core, session, release),
        "rendered": payload["rendered"],
        "resolved_images": payload["resolved_images"],
        "variable_schema": {},
        "variables": {},
    }


def _archive(core: Core, image: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "reference": image["reference"],
        "archive": str(core.artifacts.path(image["artifact"])),
        "archive_digest": image["artifact"],
        "image_id": image.get("image_id"),
    }


def _version(session: Session, release: Release) -> ServiceVersion:
    service = session.get_one(Service, release.service_id)
    return session.scalars(
        select(ServiceVersion).where(
            ServiceVersion.service_id == service.id, ServiceVersion.version == release.service_version
        )
    ).one()


def _open(core: Core, cipher: bytes | None) -> str | None:
    return core.vault.decrypt(cipher).decode() if cipher else None
