# SPDX-License-Identifier: Apache-2.0
"""What a release may hold, and the labels that say whose it is."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ..release.errors import ReleaseError
from . import documents, kinds

MANAGED_BY = "app.kubernetes.io/managed-by"
PROJECT = "dev.tidegate.project"
RELEASE = "dev.tidegate.release"
MANAGER = "tidegate"
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_NAMESPACE = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_SERVER_SIDE = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink",
                "deletionTimestamp", "deletionGracePeriodSeconds")  # fmt: skip


def require_words(project: Any, release_id: Any, namespace: Any) -> None:
    """They become labels and parts of addresses; raises ReleaseError validation_error."""
    for name, value, pattern in (
        ("project", project, _LABEL), ("release_id", release_id, _LABEL), ("namespace", namespace, _NAMESPACE),
    ):  # fmt: skip
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise ReleaseError("validation_error", f"{name} {value!r} cannot be", field=name)


def placed(
    objects: list[dict[str, Any]],
    namespace: str,
    is_namespaced: Callable[[kinds.Ref], bool],
    cluster_scoped: bool,
    reserved: kinds.Ref,
) -> list[dict[str, Any]]:
    """The objects with their namespace in them and without what is the server's to say.

    `cluster_scoped` lets them hold what lives outside namespaces; `reserved` is the project's inventory. Raises
    ReleaseError: validation_error for what is in another namespace, outside namespaces, there twice, or reserved.
    """
    seen: set[tuple[str, str, str, str]] = set()
    found = []
    for thing in objects:
        one = _cleaned(thing)
        where = kinds.ref(one)
        if is_namespaced(where):
            if where.namespace not in ("", namespace):
                raise ReleaseError(
                    "validation_error",
                    f"{where.kind}/{where.name} is in namespace {where.namespace}, the target's is {namespace}",
                    "Leave the namespace out, or release to a target of that namespace.", field="namespace",
                )  # fmt: skip
            one["metadata"]["namespace"] = namespace
        elif not cluster_scoped:
            raise ReleaseError(
                "validation_error",
                f"{where.kind}/{where.name} lives outside namespaces, which this target does not allow",
                "Let the target hold cluster-scoped objects, or leave it out.", field="cluster_scoped",
            )  # fmt: skip
        else:
            one["metadata"].pop("namespace", None)
        identity = kinds.ref(one).identity
        if identity == reserved.identity:
            raise ReleaseError(
                "validation_error",
                f"{where.kind}/{where.name} is where Tidegate keeps what it applied here",
                "Give it another name.", field="manifests",
            )  # fmt: skip
        if identity in seen:
            raise ReleaseError(
                "validation_error", f"{where.kind}/{where.name} is there twice", field="manifests"
            )
        seen.add(identity)
        found.append(one)
    return found


def served_by(objects: list[dict[str, Any]]) -> set[tuple[str, str]]:
    """The kinds that the release's own definitions will serve: (apiVersion, kind)."""
    served = set()
    for thing in objects:
        spec = thing.get("spec")
        if thing["kind"] != "CustomResourceDefinition" or not isinstance(spec, Mapping):
            continue
        names = spec.get("names") if isinstance(spec.get("names"), Mapping) else {}
        for one in spec.get("versions") or []:
            if isinstance(one, Mapping) and one.get("served"):
                served.add((f"{spec.get('group')}/{one.get('name')}", str(names.get("kind"))))
    return served


def scope_of(objects: list[dict[str, Any]]) -> dict[tuple[str, str], bool]:
    """What the release's own definitions say of their kinds: (group, kind) is namespaced?"""
    scopes = {}
    for thing in objects:
        if thing["kind"] == "CustomResourceDefinition":
            spec = thing.get("spec") if isinstance(thing.get("spec"), Mapping) else {}
            names = spec.get("names") if isinstance(spec.get("names"), Mapping) else {}
            scopes[str(spec.get("group")), str(names.get("kind"))] = spec.get("scope") != "Cluster"
    return scopes


def labelled(thing: Mapping[str, Any], project: str, release_id: str) -> dict[str, Any]:
    """The object as it is applied: with the labels that say whose it is and which release changed it last."""
    labels = {
        **(thing["metadata"].get("labels") or {}),
        MANAGED_BY: MANAGER,
        PROJECT: project,
        RELEASE: release_id,
    }
    return {**thing, "metadata": {**thing["metadata"], "labels": labels}}


def release_of(live: Mapping[str, Any]) -> str | None:
    """The release that an object's label names."""
    return (live["metadata"].get("labels") or {}).get(RELEASE)


def belongs(live: Mapping[str, Any], project: str) -> bool:
    """Does a live object say that it is this project's?"""
    return (live["metadata"].get("labels") or {}).get(PROJECT) == project


def other_owner(live: Mapping[str, Any] | None, project: str) -> str | None:
    """Another project that a live object says it belongs to; None when it is this one's, nobody's, or not there."""
    named = (live["metadata"].get("labels") or {}).get(PROJECT) if live else None
    return str(named) if named and named != project else None


def taken(title: str, owner: str) -> ReleaseError:
    """The error for an object that is another project's."""
    return ReleaseError(
        "conflict", f"{title} belongs to {owner}, which Tidegate releases here too",
        f"Give it another name, or leave it to {owner}.",
    )  # fmt: skip


def _cleaned(thing: Mapping[str, Any]) -> dict[str, Any]:
    one = {key: value for key, value in thing.items() if key != "status"}
    one["metadata"] = metadata = dict(thing["metadata"])
    for name in _SERVER_SIDE:
        metadata.pop(name, None)
    for name in ("labels", "annotations"):
        given = metadata.get(name)
        if given is None:
            metadata.pop(name, None)
        elif not isinstance(given, Mapping):
            raise documents.invalid(f"{name} of {one['kind']}/{metadata['name']} is not a mapping")
    if metadata.get("generateName"):
        raise documents.invalid(f"{one['kind']}/{metadata['name']} has a generateName: names are given")
    return one
