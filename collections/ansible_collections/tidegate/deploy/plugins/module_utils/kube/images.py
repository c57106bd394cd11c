# SPDX-License-Identifier: Apache-2.0
"""The images of a release, and whether each is pinned by its digest. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from . import documents, kinds

_DIGEST = re.compile(r"@(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$")


def images(objects: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each container; raises ReleaseError manifest_invalid for one without an image."""
    rows = []
    found = list(objects)
    titles = kinds.titles(kinds.ref(one) for one in found)
    for thing in found:
        spec = kinds.pod_spec(thing)
        for container in kinds.containers(spec) if spec else ():
            name = f"{titles[kinds.ref(thing)]}/{container.get('name')}"
            reference = container.get("image")
            if not isinstance(reference, str) or not reference:
                raise documents.invalid(f"{name} has no image")
            match = _DIGEST.search(reference)
            rows.append({
                "service": name, "reference": reference, "digest": match[1] if match else None, "image_id": None,
                "source": "registry", "pinned": bool(match), "present": False,
            })  # fmt: skip
    return rows


def pull_secrets(objects: Iterable[Mapping[str, Any]]) -> set[str]:
    """The names of the secrets that images are pulled with, as pods and the release's service accounts name them."""
    found = set()
    for thing in objects:
        holder = thing if thing["kind"] == "ServiceAccount" else kinds.pod_spec(thing) or {}
        given = holder.get("imagePullSecrets")
        for one in given if isinstance(given, list) else []:
            if isinstance(one, Mapping) and one.get("name"):
                found.add(str(one["name"]))
    return found
