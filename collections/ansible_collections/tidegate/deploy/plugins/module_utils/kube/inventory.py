# SPDX-License-Identifier: Apache-2.0
"""What Tidegate applied for a project, kept in the cluster itself: a ConfigMap that is written by compare-and-swap."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..release.errors import ReleaseError
from . import kinds, ownership

_KEY = "inventory.json"


def name(project: str) -> str:
    """The ConfigMap's name."""
    return f"tidegate-{project}".lower().replace("_", "-")


def ref(project: str, namespace: str) -> kinds.Ref:
    """The ConfigMap: no release may hold it, and none prunes it."""
    return kinds.Ref("v1", "ConfigMap", namespace, name(project))


@dataclass
class Inventory:
    """`kept` are objects of an earlier colour that stay for now, `kept_until` (seconds since the epoch) until when.

    Without such a time they stay until the next release. `paused` is what a canary waits with. `hidden` are by object
    (`word`) the paths of values that a secret variable is, or was, part of, as long as such a value may be there.
    """

    release_id: str | None = None
    fencing_token: int | None = None
    objects: list[kinds.Ref] = field(default_factory=list)
    kept: list[kinds.Ref] = field(default_factory=list)
    kept_until: float | None = None
    paused: dict[str, Any] | None = None
    hidden: dict[str, list[str]] = field(default_factory=dict)
    resource_version: str | None = None

    @classmethod
    def read(cls, config_map: Mapping[str, Any] | None, project: str) -> Inventory:
        """From the ConfigMap, empty when there is none; raises ReleaseError when it is somebody else's."""
        if config_map is None:
            return cls()
        if not ownership.belongs(config_map, project):
            raise ReleaseError(
                "conflict", f"ConfigMap {config_map['metadata']['name']} is there and not of project {project}",
                "Another project has this name, or it was changed by hand: see whose it is.",
            )  # fmt: skip
        try:
            kept = json.loads((config_map.get("data") or {})[_KEY])
            return cls(
                release_id=kept.get("release_id"),
                fencing_token=kept.get("fencing_token"),
                objects=[kinds.Ref(*one) for one in kept.get("objects", [])],
                kept=[kinds.Ref(*one) for one in kept.get("kept", [])],
                kept_until=kept.get("kept_until"),
                paused=kept.get("paused"),
                hidden=kept.get("hidden") or {},
                resource_version=config_map["metadata"]["resourceVersion"],
            )
        except (KeyError, ValueError, TypeError) as error:
            raise ReleaseError(
                "conflict", f"ConfigMap {config_map['metadata']['name']} cannot be read: {error}",
                "It was changed by hand; delete it, and see that nothing of the project is left behind.",
            ) from error  # fmt: skip

    def config_map(self, project: str, namespace: str) -> dict[str, Any]:
        """As it is written; the resource version makes that fail when somebody else wrote meanwhile."""
        text = json.dumps(
            {
                "release_id": self.release_id, "fencing_token": self.fencing_token,
                "objects": sorted(self.objects), "kept": sorted(self.kept),
                "kept_until": self.kept_until, "paused": self.paused,
                "hidden": {key: self.hidden[key] for key in sorted(self.hidden)},
            },
            separators=(",", ":"),
        )  # fmt: skip
        metadata: dict[str, Any] = {
            "name": name(project), "namespace": namespace,
            "labels": {ownership.MANAGED_BY: ownership.MANAGER, ownership.PROJECT: project},
        }  # fmt: skip
        if self.resource_version is not None:
            metadata["resourceVersion"] = self.resource_version
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {_KEY: text}}

    def require_newest(self, token: int | None) -> None:
        """Refuse an operation that is older than one that was here: raises ReleaseError target_locked."""
        if token is not None and self.fencing_token is not None and token < self.fencing_token:
            raise ReleaseError(
                "target_locked", f"a newer operation ({self.fencing_token}) has this project, this one is {token}",
                "Nothing to do: this run lost its lease.",
            )  # fmt: skip


def joined(*each: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Hidden paths of several releases by object: what any of them hid there."""
    words = sorted({word for one in each for word in one})
    return {word: sorted({path for one in each for path in one.get(word, [])}) for word in words}


def gone(
    before: Iterable[kinds.Ref], wanted: Iterable[kinds.Ref], prune_kinds: Iterable[str]
) -> tuple[list[kinds.Ref], list[kinds.Ref]]:
    """What was applied before and is not wanted now: (to be pruned, left because its kind is protected)."""
    keeps = {one.identity for one in wanted}
    asked = set(prune_kinds)
    pruned, left = [], []
    for one in dict.fromkeys(before):
        if one.identity not in keeps:
            (left if one.kind in kinds.PROTECTED and one.kind not in asked else pruned).append(one)
    return pruned, left


def require_prune_kinds(given: Any) -> list[str]:
    """The protected kinds that may be pruned all the same; raises ReleaseError validation_error."""
    if not isinstance(given or [], list) or any(one not in kinds.PROTECTED for one in given or []):
        raise ReleaseError(
            "validation_error", f"prune_kinds may name {', '.join(kinds.PROTECTED)}", field="prune_kinds"
        )
    return list(given or [])
