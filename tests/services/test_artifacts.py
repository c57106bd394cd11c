# SPDX-License-Identifier: Apache-2.0
"""Archives come, are named by versions and are collected, at the same moment, on both databases."""

from __future__ import annotations

import dataclasses
import io
from functools import partial
from typing import Any

from sqlalchemy import select

from controlplane.adapters.artifacts.folder import FolderArtifacts
from controlplane.domain.permission import system_actor
from controlplane.services import artifacts, catalog, previews
from controlplane.services.core import Core
from controlplane.store.tables import Artifact, Release, ServiceVersion
from tests.services.installation import TEMPLATE, Installation
from tests.services.test_races import at_once
from tests.unit.adapters.test_artifacts import docker_files, tar_of

ADMIN = system_actor("worker")
ARCHIVE = tar_of(docker_files())
ROUNDS = 5


def push(core: Core) -> str:
    return str(artifacts.push(core, ADMIN, "prj", io.BytesIO(ARCHIVE), None)[0]["digest"])


def test_an_archive_is_not_collected_between_its_bytes_and_its_row(shop: Installation) -> None:
    collected: list[Any] = []

    class CollectedAtOnce(FolderArtifacts):
        """A store whose archives are collected as soon as they are there."""

        def put(self, *given: Any) -> Any:
            stored = super().put(*given)
            collected.append(artifacts.collect(shop.core, ADMIN))
            return stored

    folder = shop.core.settings.home / "artifacts"
    digest = push(dataclasses.replace(shop.core, artifacts=CollectedAtOnce(folder)))
    assert collected == [{"removed": 0, "bytes_freed": 0}]
    assert artifacts.content(shop.core, ADMIN, digest)[0].read() == ARCHIVE


def test_a_version_never_names_an_archive_that_was_removed_meanwhile(shop: Installation) -> None:
    for number in range(ROUNDS):
        digest = push(shop.core)
        given = {
            "version": f"raced-{number}",
            "template": TEMPLATE,
            "images": [{"reference": "shop:1", "artifact": digest}],
        }
        made, removed = at_once(
            partial(catalog.create_version, shop.core, ADMIN, "svc", given),
            partial(artifacts.delete, shop.core, ADMIN, digest),
        )
        assert (removed == "artifact_in_use") is isinstance(made, dict), (made, removed)
        assert isinstance(made, dict) or (made, removed) == ("artifact_missing", None)
        with shop.core.database.read() as session:
            is_there = session.scalar(select(Artifact.id).where(Artifact.digest == digest)) is not None
        assert is_there is isinstance(made, dict)
        if isinstance(made, dict):
            catalog.delete_version(shop.core, ADMIN, "svc", given["version"])


def test_no_release_is_previewed_of_a_version_that_was_deleted_meanwhile(shop: Installation) -> None:
    asked = {"target_id": shop.targets["development"], "service": "shop", "version": "raced"}
    for _round in range(ROUNDS):
        with shop.core.database.write() as session:
            session.query(Release).delete()
            session.query(ServiceVersion).where(ServiceVersion.version == "raced").delete()
        catalog.create_version(shop.core, ADMIN, "svc", {"version": "raced", "template": TEMPLATE})
        release, deleted = at_once(
            partial(previews.request, shop.core, shop.releaser, asked),
            partial(catalog.delete_version, shop.core, ADMIN, "svc", "raced"),
        )
        told = ("release" if isinstance(release, dict) else release, deleted)
        assert told in (("release", "resource_in_use"), ("not_found", None)), told
