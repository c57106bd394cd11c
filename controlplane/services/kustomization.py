# SPDX-License-Identifier: Apache-2.0
"""A kustomization directory as a version packs it: its files keep to themselves. It is built on the worker only."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from controlplane.domain.errors import Problem
from controlplane.services import yaml_documents
from controlplane.services.manifests import BOUNDS, MOST_BYTES

NAMES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
MOST_FILES = 500
_REFUSED = (
    "generators",
    "transformers",
    "validators",
    "helmCharts",
    "helmGlobals",
    "helmChartInflationGenerator",
)
_NAMING = ("resources", "bases", "components")
_FILES = (
    "crds",
    "configurations",
    "patchesStrategicMerge",
    "replacements",
    "openapi",
    "patches",
    "patchesJson6902",
)
_GENERATORS = ("configMapGenerator", "secretGenerator")
_GUARDED = {
    *_REFUSED, *_NAMING, *_FILES, *_GENERATORS, "buildMetadata", "files", "envs", "env", "path",
}  # fmt: skip
_FOLDED = {name.casefold() for name in _GUARDED}
_VARIABLE = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")


def check(files: Mapping[str, Any]) -> dict[str, str]:
    """Return the files under normalised names.

    Raises:
        Problem: `manifest_invalid`: a name that leads outside, something remote, a plugin, function or chart, no
            kustomization, or more than is taken.
    """
    if not files or len(files) > MOST_FILES:
        raise Problem("manifest_invalid", f"a kustomization is 1 to {MOST_FILES} files")
    found: dict[str, str] = {}
    for name, text in files.items():
        if not isinstance(text, str):
            raise Problem("manifest_invalid", f"{name[:100]!r} of the kustomization is no text")
        found[_inside(PurePosixPath("."), name)] = text
    if sum(len(text) for text in found.values()) > MOST_BYTES:
        raise Problem("manifest_invalid", f"the kustomization is larger than {MOST_BYTES} bytes")
    if not _has_kustomization(found, "."):
        raise Problem("manifest_invalid", f"the kustomization has none of {', '.join(NAMES)}")
    for name, text in found.items():
        if PurePosixPath(name).name in NAMES:
            _check_one(name, text, found)
    return found


def variables(files: Mapping[str, str]) -> set[str]:
    """Return the variables that any of the files uses."""
    return {name for text in files.values() for name in _VARIABLE.findall(text)}


def _check_one(name: str, text: str, files: Mapping[str, str]) -> None:
    try:
        documents = [one for one in yaml_documents.read(text, BOUNDS) if one is not None]
    except yaml_documents.NotTaken as error:
        raise Problem("manifest_invalid", f"{name}: {error}") from None
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise Problem("manifest_invalid", f"{name} is not one mapping")
    _require_exact_names(documents[0], name)
    for field in _REFUSED:
        if documents[0].get(field):
            raise Problem("manifest_invalid", f"{field} in {name}: no plugin, function or chart is run")
    if documents[0].get("buildMetadata"):
        raise Problem("manifest_invalid", f"buildMetadata in {name} would tell where it was built")
    folder = PurePosixPath(name).parent
    for entry in _named(documents[0], name):
        where = _inside(folder, entry)
        if where not in files and not _has_kustomization(files, where):
            raise _absent(name, entry)
    for entry in (*_named_files(documents[0], name), *_generated(documents[0], name)):
        if _inside(folder, entry) not in files:
            raise _absent(name, entry)


def _require_exact_names(value: object, name: str) -> None:
    """kubectl reads names of fields without regard to case (Go's encoding/json): a guard has to see each of them."""
    if isinstance(value, Mapping):
        for key, below in value.items():
            if isinstance(key, str) and key not in _GUARDED and key.casefold() in _FOLDED:
                raise Problem(
                    "manifest_invalid", f"{key[:200]!r} in {name} is a known field in other letter case"
                )
            _require_exact_names(below, name)
    elif isinstance(value, list):
        for below in value:
            _require_exact_names(below, name)


def _named(document: Mapping[str, Any], name: str) -> Iterator[str]:
    for field in _NAMING:
        entries = document.get(field) or []
        if not isinstance(entries, list) or not all(isinstance(one, str) for one in entries):
            raise Problem("manifest_invalid", f"{field} in {name} is no list of names")
        yield from entries


def _named_files(document: Mapping[str, Any], name: str) -> Iterator[str]:
    """What the fields name that name files only: by itself, or as the `path` of a mapping."""
    for field in _FILES:
        found = document.get(field) or []
        for one in found if isinstance(found, list) else [found]:
            entry = one.get("path") or None if isinstance(one, Mapping) else one
            # A patch may also be written out in place.
            if entry is None or (field == "patchesStrategicMerge" and "\n" in str(entry).strip()):
                continue
            yield _text(entry, field, name)


def _generated(document: Mapping[str, Any], name: str) -> Iterator[str]:
    """The files that generators take in."""
    for field in _GENERATORS:
        for one in _list(document.get(field), field, name):
            if not isinstance(one, Mapping):
                raise Problem("manifest_invalid", f"{field} in {name} is no list of mappings")
            for entry in _list(one.get("files"), field, name):
                text = _text(entry, field, name)
                yield text.partition("=")[2] or text
            envs = [*_list(one.get("envs"), field, name), *([one["env"]] if one.get("env") else [])]
            yield from (_text(entry, field, name) for entry in envs)


def _list(found: Any, field: str, name: str) -> list[Any]:
    if not isinstance(found or [], list):
        raise Problem("manifest_invalid", f"{field} in {name} is no list")
    return found or []


def _text(entry: Any, field: str, name: str) -> str:
    if not isinstance(entry, str):
        raise Problem("manifest_invalid", f"{field} in {name} names {str(entry)[:200]}, which is no file")
    return entry


def _absent(name: str, entry: str) -> Problem:
    return Problem("manifest_invalid", f"{name} names {entry[:200]!r}, which is not in the directory")


def _inside(folder: PurePosixPath, entry: str) -> str:
    """Return a name inside the directory, normalised. Addresses have a colon or a question mark in them."""
    is_odd = not entry or len(entry) > 255 or entry.startswith(("/", "~")) or set(entry) & set("\0\\:?\n")
    parts: list[str] = []
    for part in () if is_odd else (folder / entry).parts:
        if part == ".." and not parts:
            is_odd = True
        elif part == "..":
            parts.pop()
        elif part != ".":
            parts.append(part)
    if is_odd:
        raise Problem("manifest_invalid", f"{entry[:200]!r} is no file of the kustomization's directory")
    return "/".join(parts)


def _has_kustomization(files: Mapping[str, str], folder: str) -> bool:
    return any(str(PurePosixPath(folder) / name) in files for name in NAMES)
