# SPDX-License-Identifier: Apache-2.0
"""What differs between two bundles, by what their indexes and lists of sums say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from controlplane.adapters.bundle import index_file, rules

# Section of the index -> what its entries are told apart by; None where it is a mapping already.
_SECTIONS = {
    "artifacts": "id",
    "steps": "name",
    "checks": "id",
    "features": None,
    "defaults": None,
    "profiles": None,
}


def compare(before: Path, after: Path) -> dict[str, Any]:
    """Return `version`, `digest` (each [before, after]), `same`, and per section `added`, `removed` and `changed`.

    `changed` is {name: {field: [before, after]}}; `versions` are `runtime version`, `files` those without an artifact.

    Raises:
        Problem: one of them has no valid index.
    """
    old, new = index_file.read(before), index_file.read(after)
    (old_digest, old_sums), (new_digest, new_sums) = index_file.sums(before), index_file.sums(after)
    sections = {"versions": _differ(_versions(old), _versions(new))}
    for section, key in _SECTIONS.items():
        sections[section] = _differ(_named(old, section, key), _named(new, section, key))
    sections["files"] = _differ(_files(old_sums), _files(new_sums))
    whole = {name: old.get(name) != new.get(name) for name in ("platforms", "compatibility")}
    same = not any(any(one.values()) for one in sections.values()) and not any(whole.values())
    return {
        "same": same and old["version"] == new["version"],
        "version": [old["version"], new["version"]],
        "digest": [old_digest or None, new_digest or None],
        **{name: [old.get(name), new.get(name)] for name, differs in whole.items() if differs},
        **sections,
    }


def _versions(index: Mapping[str, Any]) -> dict[str, Any]:
    return {
        f"{runtime} {one['version']}": {name: value for name, value in one.items() if name != "version"}
        for runtime, told in index["runtimes"].items()
        for one in told["versions"]
    }


def _named(index: Mapping[str, Any], section: str, key: str | None) -> dict[str, Any]:
    entries = index.get(section) or {}
    if key is None:
        return {
            name: value if isinstance(value, dict) else {"value": value} for name, value in entries.items()
        }
    return {one[key]: one for one in entries}


def _files(sums: Mapping[str, str]) -> dict[str, Any]:
    paths = rules.part("bundle_path")
    return {
        path: {"sha256": sha256}
        for path, sha256 in sums.items()
        if path != paths.INDEX and not paths.is_artifact(path)
    }


def _differ(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    changed = {}
    for name in sorted(old.keys() & new.keys()):
        fields = sorted(old[name].keys() | new[name].keys())
        moved = {
            one: [old[name].get(one), new[name].get(one)]
            for one in fields
            if old[name].get(one) != new[name].get(one)
        }
        if moved:
            changed[name] = moved
    return {
        "added": sorted(new.keys() - old.keys()),
        "removed": sorted(old.keys() - new.keys()),
        "changed": changed,
    }
