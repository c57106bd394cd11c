# SPDX-License-Identifier: Apache-2.0
"""The release spec on the controller: read as plain data, rendered, completed. Nothing in it is a template."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..host import colours
from ..release.errors import ReleaseError
from . import archive, template

API = "tidegate.release/v1"
HEALTH_SECONDS = 120.0
# What a release is called whose spec does not say its id.
BY_HAND = "by-hand"
_KINDS = {bool: "boolean", int: "integer", float: "number"}


def load(path: str | None, inline: Any) -> dict[str, Any]:
    """The spec from its file, or as given by hand; raises ReleaseError validation_error."""
    if path:
        try:
            given = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ReleaseError("validation_error", f"cannot read the release spec: {error}") from error
    else:
        # Through JSON, so that nothing of it is an Ansible type that could still be seen as a template.
        given = json.loads(json.dumps(inline, default=str)) if inline is not None else None
    if not isinstance(given, dict):
        raise ReleaseError("validation_error", "give release_spec_file, or release_spec as a mapping")
    spec = dict(given)
    if spec.setdefault("api", API) != API:
        raise ReleaseError("validation_error", f"api is {spec['api']!r}, expected {API}")
    spec.setdefault("project", spec.get("service"))
    spec.setdefault("release_id", BY_HAND)
    spec["health_timeout"] = _seconds(spec.get("health_timeout"))
    if "compose" not in spec and spec.get("compose_file"):
        try:
            spec["compose"] = Path(spec["compose_file"]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ReleaseError("compose_invalid", f"cannot read the Compose file: {error}") from error
    return spec


def _seconds(given: Any) -> float:
    """How long health is waited for. No time at all would fail every release."""
    if given is None:
        return HEALTH_SECONDS
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not 1 <= given <= 86400:
        raise ReleaseError(
            "validation_error",
            f"health_timeout is {given!r}, expected seconds from 1 to 86400",
            field="health_timeout",
        )
    return given


def require_own_project(project: Any) -> None:
    """Raises ReleaseError validation_error for a project that is called as a colour of another one would be."""
    for colour in colours.COLOURS:
        if str(project).endswith(f"-{colour}"):
            raise ReleaseError(
                "validation_error",
                f"{project!r} is what colour {colour} of project {str(project)[: -len(colour) - 1]!r} is called",
                "Give the project another name.",
            )


def rendered(spec: Mapping[str, Any]) -> str:
    """The project: as stored when the spec carries it, else from template and variables."""
    if spec.get("rendered"):
        return str(spec["rendered"])
    if not isinstance(spec.get("compose"), str):
        raise ReleaseError("compose_invalid", "the release spec has no Compose template")
    variables = spec.get("variables") or {}
    schema = spec.get("variable_schema")
    if schema is None:
        schema = {name: {"type": _KINDS.get(type(value), "string")} for name, value in variables.items()}
    return template.render(spec["compose"], variables, schema)


def references(document: Mapping[str, Any], resolved: Mapping[str, Any] | None = None) -> dict[str, str]:
    """The image reference of each service; raises ReleaseError compose_invalid for one without."""
    found = {}
    for name, definition in document["services"].items():
        reference = ((resolved or {}).get(name) or {}).get("reference") or definition.get("image")
        if not isinstance(reference, str) or not reference:
            raise ReleaseError(
                "compose_invalid", f"service {name} has no image", "Images are not built on hosts."
            )
        found[name] = reference
    return found


def archive_ids(spec: Mapping[str, Any]) -> dict[str, str | None]:
    """Image ids of the archives by reference, read from the archive where the spec does not say."""
    ids: dict[str, str | None] = {}
    for one in spec.get("images") or []:
        try:
            read = one.get("image_id") or archive.read_archive(one["archive"], one["reference"]).image_id
        except archive.ArchiveError as error:
            raise ReleaseError(error.error_key, str(error), error.hint) from error
        ids[one["reference"]] = read
    return ids
