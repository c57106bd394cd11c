# SPDX-License-Identifier: Apache-2.0
"""The release spec: the one document in which a playbook is told what to preview or apply."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from controlplane.services import registries
from controlplane.services.core import Core
from controlplane.store.tables import Artifact, Release, Service, ServiceVersion, Target

API = "tidegate.release/v1"


# A Compose project and a Kubernetes label have at most 63 characters; a colour of the project adds its name to it.
_MOST = 63 - len("-green")
_MARK = 10


def project_name(service: Service, target: Target) -> str:
    """Return what a service on a target is called there: the same for each release, and nobody else's.

    It is the Compose project, and the label of objects in a cluster. Names are for people; the mark at the end is of
    the ids, so that no two services meet, whatever they and their targets are called, in whichever project they are.
    """
    whole = "\n".join((service.project_id, service.id, target.id))
    mark = hashlib.sha256(whole.encode()).hexdigest()[:_MARK]
    readable = f"{service.name}-{target.name}"[: _MOST - _MARK - 1].strip("-_")
    return f"{readable}-{mark}"


def preview_spec(core: Core, session: Session, release: Release) -> dict[str, Any]:
    """Return what a preview is made from: the template, or for a rollback the stored release itself."""
    spec = _base(core, session, release)
    version = _version(session, release)
    inputs = json.loads(core.vault.decrypt(release.inputs_cipher)) if release.inputs_cipher else {}
    spec |= {
        **_written(release, version),
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
        "conflicts": payload.get("conflicts", []),
        "compare_fingerprint": True,
        "fencing_token": fencing_token,
    }


def previewed_place(core: Core, release: Release) -> str:
    """Return the identity of where the release was previewed; see `run_place`."""
    payload = json.loads(core.vault.decrypt(release.payload_cipher or b""))
    return str(payload.get("place", ""))


def stored_spec(core: Core, session: Session, release: Release) -> dict[str, Any]:
    """Return what previewing a release's stored project again needs: a preview of it says what has drifted."""
    return _stored(core, session, release, json.loads(core.vault.decrypt(release.payload_cipher or b"")))


def revision(session: Session, release: Release) -> str:
    """Return the digest of the service version that is released."""
    return _version(session, release).digest


def secret_env(core: Core) -> Mapping[str, str]:
    """Return what reaches a playbook through its environment only."""
    return {"TIDEGATE_HMAC_KEY": core.vault.hmac_key().hex()}


def _written(release: Release, version: ServiceVersion) -> dict[str, Any]:
    """Return what a version is written in, as the automation side of its runtime calls it."""
    if release.runtime_type != "k8s":
        return {"compose": version.template}
    if version.kustomization:
        return {"kustomization": {"files": version.kustomization}}
    return {"manifests": version.template}


def _of_runtime(session: Session, release: Release, version: ServiceVersion) -> dict[str, Any]:
    """Return what only one runtime's releases have."""
    if release.runtime_type != "k8s":
        return {}
    target = session.get_one(Target, release.target_id)
    return {
        "runtime_type": release.runtime_type,
        "namespace": target.namespace,
        "cluster_scoped": target.cluster_scoped,
        "prune_kinds": version.prune_kinds,
    }


def _base(core: Core, session: Session, release: Release) -> dict[str, Any]:
    version = _version(session, release)
    return {
        **_of_runtime(session, release, version),
        "api": API,
        "release_id": release.id,
        "service": release.service_name,
        "target": release.target_name,
        "environment": release.environment_name,
        "project": project_name(
            session.get_one(Service, release.service_id), session.get_one(Target, release.target_id)
        ),
        "images": [_archive(core, session, release, image) for image in version.images],
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


def _archive(core: Core, session: Session, release: Release, image: Mapping[str, Any]) -> dict[str, Any]:
    artifact = session.scalar(
        select(Artifact).where(
            Artifact.project_id == release.project_id, Artifact.digest == image["artifact"]
        )
    )
    return {
        "reference": image["reference"],
        "archive": str(core.artifacts.path(image["artifact"])),
        "archive_digest": image["artifact"],
        "archive_bytes": artifact.size if artifact else 0,
        "image_id": image.get("image_id"),
    }


def _version(session: Session, release: Release) -> ServiceVersion:
    service = session.get_one(Service, release.service_id)
    return session.scalars(
        select(ServiceVersion).where(
            ServiceVersion.service_id == service.id, ServiceVersion.version == release.service_version
        )
    ).one()
