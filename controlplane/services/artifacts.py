# SPDX-License-Identifier: Apache-2.0
"""Image archives: a row for each project that has one, the bytes once for all."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, BinaryIO

from sqlalchemy import select
from sqlalchemy.orm import Session

from controlplane.domain.errors import Problem
from controlplane.domain.identifier import new_id
from controlplane.domain.permission import Actor, Permission
from controlplane.services import access, record, views
from controlplane.services.core import Core
from controlplane.store import pages
from controlplane.store.tables import Artifact, Project, Service, ServiceVersion


def push(
    core: Core, actor: Actor, project_id: str, stream: BinaryIO, expected_digest: str | None
) -> tuple[dict[str, Any], bool]:
    """Take an archive in and return it, and whether it is new to the project.

    Raises:
        Problem: `not_found`, `permission_denied`, `artifact_checksum_mismatch`, `validation_error` (no image
            archive), `payload_too_large`, `storage_full`. Nothing is left behind.
    """
    with core.database.read() as session:
        project = access.load_project(session, actor, project_id)
    access.require(core, actor, Permission.TARGET_WRITE, project, about=("project", project.id))
    stored = core.artifacts.put(stream, expected_digest, core.settings.max_artifact_bytes)
    now = core.clock.now()
    with core.database.write() as session:
        known = _row(session, project.id, stored.digest)
        if known is not None:
            known.pushed_at = now
            return _show(known), False
        row = Artifact(
            id=new_id("art"),
            project_id=project.id,
            digest=stored.digest,
            size=stored.size,
            media=stored.media,
            image_ids=list(stored.image_ids),
            references=list(stored.references),
            created_by=actor.id,
            created_at=now,
            pushed_at=now,
        )
        session.add(row)
        record.flush(session, "the same archive arrived twice at once; it is there now")
        record.tell(
            core,
            session,
            actor,
            "resource.created",
            ("artifact", row.id),
            project,
            digest=row.digest,
            size=row.size,
        )
    return _show(row), True


def list_(core: Core, actor: Actor, filters: Mapping[str, Any], page: pages.PageRequest) -> pages.Page:
    """List archives of projects that the actor may read. Filters: `project_id` (id or name), `digest`."""
    query = access.visible(select(Artifact), actor, Permission.RELEASE_READ, Artifact.project_id)
    with core.database.read() as session:
        if filters.get("project_id"):
            query = query.where(
                Artifact.project_id == access.load_project(session, actor, filters["project_id"]).id
            )
        if filters.get("digest"):
            query = query.where(Artifact.digest == filters["digest"])
        sortable = {"created_at": Artifact.created_at, "size": Artifact.size}
        return pages.fetch_page(session, query, page, sortable, Artifact.id, _show, "-created_at")


def get(core: Core, actor: Actor, named: str) -> dict[str, Any]:
    """Return an archive by id or digest. Raises Problem `not_found`, `permission_denied`."""
    return _show(_load(core, actor, named, Permission.RELEASE_READ)[0])


def content(core: Core, actor: Actor, named: str) -> tuple[BinaryIO, int]:
    """Return an archive's bytes, to be read and closed, and how many they are.

    Raises:
        Problem: `not_found`, `permission_denied`, `artifact_missing`.
    """
    row, _project = _load(core, actor, named, Permission.RELEASE_READ)
    return core.artifacts.open(row.digest), row.size


def delete(core: Core, actor: Actor, named: str) -> None:
    """Take an archive out of its project. The bytes go with a later `collect`, when no project has them.

    Raises:
        Problem: `not_found`, `permission_denied`, `artifact_in_use` (a version names it).
    """
    row, project = _load(core, actor, named, Permission.TARGET_WRITE)
    with core.database.write() as session:
        # Locked before its users are looked for: a version that is being made locks it as well.
        kept = session.get(Artifact, row.id, with_for_update=True)
        if kept is None:
            raise Problem("not_found", f"there is no artifact {named}")
        user = _user(session, kept)
        if user is not None:
            raise Problem("artifact_in_use", f"{user} uses it")
        _remove(core, session, actor, kept, project)


def collect(core: Core, actor: Actor) -> dict[str, int]:
    """Remove archives that no version names, then the bytes that no project has: `{removed, bytes_freed}`.

    What was pushed less than `artifact_grace_seconds` ago stays: the version that will name it, or the row of the
    archive itself, may not be written yet.

    Raises:
        Problem: `permission_denied`.
    """
    access.require(core, actor, Permission.ADMIN, None, about=("artifact", "all"))
    grace = core.settings.artifact_grace_seconds
    before = core.clock.now() - timedelta(seconds=grace)
    with core.database.read() as session:
        old = session.scalars(select(Artifact).where(Artifact.pushed_at < before))
        unused = [row.id for row in old if _user(session, row) is None]
    for artifact_id in unused:
        _collect_unused(core, actor, artifact_id, before)
    with core.database.read() as session:
        wanted = set(session.scalars(select(Artifact.digest)))
    sizes = [
        core.artifacts.delete(digest, grace) for digest in core.artifacts.digests() if digest not in wanted
    ]
    return {"removed": sum(size > 0 for size in sizes), "bytes_freed": sum(sizes)}


def _collect_unused(core: Core, actor: Actor, artifact_id: str, before: datetime) -> None:
    with core.database.write() as session:
        # Asked anew under the lock: it may have been pushed again, or named by a version, since it was listed.
        query = select(Artifact).where(Artifact.id == artifact_id, Artifact.pushed_at < before)
        row = session.scalar(query.with_for_update())
        if row is not None and _user(session, row) is None:
            _remove(core, session, actor, row, session.get_one(Project, row.project_id))


def _remove(core: Core, session: Session, actor: Actor, row: Artifact, project: Project) -> None:
    record.remove(session, row, "it is used still")
    record.tell(core, session, actor, "resource.deleted", ("artifact", row.id), project, digest=row.digest)


def _user(session: Session, row: Artifact) -> str | None:
    """Return the version that names an archive, None when none does."""
    versions = session.execute(
        select(Service.name, ServiceVersion.version, ServiceVersion.images)
        .join(Service, Service.id == ServiceVersion.service_id)
        .where(Service.project_id == row.project_id)
    )
    for name, version, images in versions:
        if any(image.get("artifact") == row.digest for image in images):
            return f"version {version} of {name}"
    return None


def _load(core: Core, actor: Actor, named: str, permission: Permission) -> tuple[Artifact, Project]:
    with core.database.read() as session:
        query = access.visible(select(Artifact), actor, Permission.RELEASE_READ, Artifact.project_id)
        column = Artifact.digest if named.startswith("sha256:") else Artifact.id
        row = session.scalar(query.where(column == named).order_by(Artifact.created_at).limit(1))
        project = session.get(Project, row.project_id) if row else None
    if row is None or project is None:
        raise Problem("not_found", f"there is no artifact {named}")
    access.require(core, actor, permission, project, about=("artifact", row.id))
    return row, project


def _row(session: Session, project_id: str, digest: str) -> Artifact | None:
    query = select(Artifact).where(Artifact.project_id == project_id, Artifact.digest == digest)
    return session.scalar(query.with_for_update())


def _show(row: Artifact) -> dict[str, Any]:
    return {
        "id": row.id,
        "project_id": row.project_id,
        "digest": row.digest,
        "size": row.size,
        "media": row.media,
        "image_ids": row.image_ids,
        "references": row.references,
        "created_by": row.created_by,
        "created_at": views.moment(row.created_at),
        "pushed_at": views.moment(row.pushed_at),
    }
