# SPDX-License-Identifier: Apache-2.0
"""A release to a cluster, read from its spec. Nothing in it is a template of Ansible's, and no server is asked here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..compose.spec import BY_HAND
from ..release.errors import ReleaseError
from . import comparison, inventory, kustomization, manifests, ownership, strategy
from .manifests import Manifests

_KINDS = {bool: "boolean", int: "integer", float: "number"}
HEALTH_SECONDS = 120.0


@dataclass(frozen=True)
class Release:
    """`hidden` are, by index of the object, the paths of values that a secret variable is part of.

    `is_taken_up` says that a run before this one began the same work, and was lost; `begun_token` is what the first of
    those was fenced by, where that is known. `shown_conflicts` are the fields of others that the preview said would be
    taken over.
    """

    project: str
    release_id: str
    namespace: str
    manifests: Manifests
    hidden: Mapping[int, list[str]]
    strategy: str
    params: Mapping[str, Any]
    prune_kinds: list[str]
    cluster_scoped: bool
    fencing_token: int | None
    is_taken_up: bool
    begun_token: int | None
    shown_conflicts: frozenset[str]
    health_timeout: float

    @property
    def forces(self) -> bool:
        """Does it take fields over that others own?"""
        return bool(self.params.get("force_conflicts"))

    @property
    def resumed(self) -> str | None:
        """Its id where a run that was lost began the same work: what bears it is then this release's own doing."""
        return self.release_id if self.is_taken_up else None


def read(spec: Mapping[str, Any]) -> Release:
    """Raises ReleaseError: validation_error, manifest_invalid, kubectl_missing."""
    place = whereabouts(spec)
    name = spec.get("strategy") or "rolling"
    params = strategy.parse(name, spec.get("strategy_params") or {})
    _require_own_id(name, place["release_id"])
    prune_kinds = inventory.require_prune_kinds(spec.get("prune_kinds"))
    found = _manifests(spec)
    timeout = spec.get("health_timeout")
    return Release(
        **place,
        manifests=found,
        hidden=comparison.hidden_paths(found),
        strategy=name,
        params=params,
        prune_kinds=prune_kinds,
        cluster_scoped=spec.get("cluster_scoped") is True,
        fencing_token=spec.get("fencing_token"),
        shown_conflicts=frozenset(str(one) for one in spec.get("conflicts") or []),
        is_taken_up=spec.get("taken_up") is True,
        begun_token=spec.get("begun_token"),
        health_timeout=HEALTH_SECONDS if timeout is None else float(timeout),
    )


def whereabouts(spec: Mapping[str, Any]) -> dict[str, str]:
    """Project, release_id and namespace of a spec; raises ReleaseError validation_error."""
    release_id = spec.get("release_id") or BY_HAND
    ownership.require_words(spec.get("project"), release_id, spec.get("namespace"))
    return {"project": spec["project"], "release_id": release_id, "namespace": spec["namespace"]}


def _require_own_id(strategy_name: str, release_id: str) -> None:
    """Which colour is a release's own, and which canary, is known by its id; raises ReleaseError validation_error."""
    if strategy_name != "rolling" and release_id == BY_HAND:
        raise ReleaseError(
            "validation_error", f"{strategy_name} needs a release_id: what runs is told from what comes by it",
            "Give release_id: another one for each release, the same to promote, abort or retire it.",
            field="release_id",
        )  # fmt: skip


def _manifests(spec: Mapping[str, Any]) -> Manifests:
    if spec.get("rendered"):
        return manifests.stored(str(spec["rendered"]))
    variables = spec.get("variables") or {}
    schema = spec.get("variable_schema")
    if schema is None:
        schema = {name: {"type": _KINDS.get(type(value), "string")} for name, value in variables.items()}
    text, is_generated = _text(spec)
    return manifests.render(text, variables, schema, is_generated)


def _text(spec: Mapping[str, Any]) -> tuple[str, bool]:
    """The manifests, and whether they were built of a kustomization."""
    if isinstance(spec.get("manifests"), str):
        return str(spec["manifests"]), False
    try:
        if spec.get("manifests_file"):
            return Path(str(spec["manifests_file"])).read_text(encoding="utf-8"), False
        if spec.get("kustomization_dir"):
            files = kustomization.folder_files(Path(str(spec["kustomization_dir"])))
            return kustomization.build(files), True
    except (OSError, UnicodeDecodeError) as error:
        raise ReleaseError("manifest_invalid", f"the manifests cannot be read: {error}") from error
    if isinstance(spec.get("kustomization"), Mapping):
        return kustomization.build(spec["kustomization"].get("files")), True
    raise ReleaseError("manifest_invalid", "the release spec has neither manifests nor a kustomization")
