# SPDX-License-Identifier: Apache-2.0
"""Where an image comes from: the host has it, an archive of the release brings it, or a registry does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import engine, registry


def find(
    reference: str, archived: str | None, resolved: Mapping[str, Any], registries: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The image's digest, image_id, source (host, registry, archive) and whether it is present.

    `archived` is the image id of its archive, `resolved` what an earlier preview said of it. Raises
    ReleaseError image_missing when nobody has it.
    """
    wanted, digest = archived or resolved.get("image_id"), resolved.get("digest")
    pinned = f"{registry.repository(reference)}@{digest}" if digest else wanted
    found = engine.inspect_image(pinned or reference)
    if found is None and digest and wanted:
        found, digest = engine.inspect_image(wanted), None
    if found is not None:
        own = digest or (None if archived else registry.digest_of(reference, found.get("RepoDigests") or []))
        return {
            "digest": own,
            "image_id": found["Id"],
            "source": "archive" if archived else "host",
            "present": True,
        }
    if archived:
        return {"digest": None, "image_id": archived, "source": "archive", "present": False}
    asked = f"{registry.repository(reference)}@{digest}" if digest else reference
    digest = registry.resolve(asked, registries)
    # What was pulled by digest has no tag on the host.
    found = engine.inspect_image(f"{registry.repository(reference)}@{digest}")
    image_id = found["Id"] if found else resolved.get("image_id")
    return {"digest": digest, "image_id": image_id, "source": "registry", "present": found is not None}
