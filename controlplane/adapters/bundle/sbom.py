# SPDX-License-Identifier: Apache-2.0
"""The parts list of a bundle as CycloneDX 1.6 JSON. The same bundle gives the same document: it has no time in it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from controlplane.adapters.bundle import index_file
from controlplane.domain.errors import Problem

_KINDS = {"image": "container", "config": "file"}
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:tidegate:bundle")


def describe(folder: Path) -> dict[str, Any]:
    """Return the document of a locked bundle; an artifact that is in its index but not in it is left out.

    Raises:
        Problem: the index is missing or not valid, or `artifact_missing` when the bundle was never locked.
    """
    index = index_file.read(folder)
    digest, sums = index_file.sums(folder)
    if not digest:
        raise Problem("artifact_missing", f"{folder} has no list of sums", hint="Lock the bundle first.")
    artifacts = {one["path"]: one for one in index["artifacts"]}
    (platform, *_more) = index["platforms"]
    components = [
        _artifact(artifacts[path], sha256, platform["arch"]) if path in artifacts else _file(path, sha256)
        for path, sha256 in sorted(sums.items())
    ]
    root = {"type": "platform", "bom-ref": digest, "name": "tidegate-bundle", "version": index["version"]}
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, digest)}",
        "version": 1,
        "metadata": {"component": root},
        "components": components,
        "dependencies": [{"ref": digest, "dependsOn": sorted(one["bom-ref"] for one in components)}],
    }


def _artifact(one: Mapping[str, Any], sha256: str, architecture: str) -> dict[str, Any]:
    source = one.get("source", {})
    described: dict[str, Any] = {
        "type": _KINDS.get(one["type"], "application"),
        "bom-ref": one["path"],
        "name": one["id"],
        **({"version": one["version"]} if "version" in one else {}),
        "hashes": [{"alg": "SHA-256", "content": sha256}],
        **({"licenses": [{"expression": one["license"]}]} if "license" in one else {}),
    }
    package = source.get("debian", {}).get("package")
    if package:
        version = f"@{quote(one['version'], safe='.+~-')}" if "version" in one else ""
        described["purl"] = f"pkg:deb/debian/{quote(package, safe='.-+')}{version}?arch={architecture}"
    if "url" in source:
        described["externalReferences"] = [{"type": "distribution", "url": source["url"]}]
    told = {"type": one["type"], "path": one["path"], "mode": one.get("mode"), "size": one.get("size")}
    described["properties"] = [
        {"name": f"tidegate:{name}", "value": str(value)} for name, value in told.items() if value is not None
    ]
    return described


def _file(path: str, sha256: str) -> dict[str, Any]:
    hashes = [{"alg": "SHA-256", "content": sha256}]
    return {"type": "file", "bom-ref": path, "name": path, "hashes": hashes}
