# SPDX-License-Identifier: Apache-2.0
"""What a release meets in a cluster: read in a few rounds of requests, each round all at once. Changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..release.errors import ReleaseError
from . import blue_green, canary, inventory, kinds, ownership, rolling
from .api_problem import problem
from .cluster import Cluster
from .kinds import Ref
from .release import Release
from .session import ApiError


@dataclass
class Scene:
    """`objects` are the release's as its strategy makes them, `live` all that it touches, as it is now.

    `gone` is what an earlier release applied and this one has not; `left` is what of that stays, being protected.
    `kept` is what stays for now, being the colour that a later switch may go back to.
    """

    cluster: Cluster
    release: Release
    held: inventory.Inventory
    namespace: dict[str, Any] | None
    quotas: list[dict[str, Any]]
    objects: list[dict[str, Any]] = field(default_factory=list)
    live: dict[Ref, dict[str, Any] | None] = field(default_factory=dict)
    gone: list[Ref] = field(default_factory=list)
    left: list[Ref] = field(default_factory=list)
    kept: list[Ref] = field(default_factory=list)

    @property
    def refs(self) -> list[Ref]:
        """The release's own objects."""
        return [kinds.ref(one) for one in self.objects]

    def titles(self) -> dict[Ref, str]:
        """How each object that is touched is told of."""
        return kinds.titles([*self.refs, *self.gone, *self.left, *self.kept])

    def hidden(self, one: Ref) -> list[str]:
        """The paths of the object's values that a secret variable is, or was, part of."""
        return self._hidden.get(one, []) + self.held.hidden.get(word(one), [])

    def hidden_words(self) -> dict[str, list[str]]:
        """The same of the release alone, as the inventory keeps it."""
        return {word(one): paths for one, paths in self._hidden.items()}

    def touched(self) -> list[Ref]:
        """Everything whose change makes a preview stale."""
        return [*self.refs, *self.gone]

    @cached_property
    def _hidden(self) -> dict[Ref, list[str]]:
        return {kinds.ref(self.objects[index]): paths for index, paths in self.release.hidden.items()}


def look(cluster: Cluster, release: Release) -> Scene:
    """Raises ReleaseError: validation_error for what the release may not hold, and whatever keeps it from looking."""
    first = [thing["apiVersion"] for thing in release.manifests.objects]
    scene = _begin(cluster, release, {"v1", "apps/v1", *first})
    renew(cluster, scene.held)
    scopes = ownership.scope_of(release.manifests.objects)
    own = inventory.ref(release.project, release.namespace)
    scene.objects = ownership.placed(
        release.manifests.objects, release.namespace, lambda one: _is_namespaced(cluster, scopes, one),
        release.cluster_scoped, own,
    )  # fmt: skip
    if release.strategy == "rolling":
        scene.objects = rolling.paced(scene.objects, release.params)
    elif release.strategy == "canary":
        canary.require_fit(scene.objects, release.params["workload"])
    elif release.strategy == "blue_green":
        scene.objects, scene.kept = blue_green.shaped(cluster, release, scene.held, scene.objects)
    known = [one for one in (*scene.held.objects, *scene.held.kept) if one.identity != own.identity]
    gone, left = inventory.gone(known, [*scene.refs, *scene.kept], release.prune_kinds)
    if not release.cluster_scoped:
        gone = [one for one in gone if one.namespace == release.namespace]
    scene.live = asked(
        lambda: cluster.live([*scene.refs, *gone, *left, *scene.kept], release.project), "objects"
    )
    # What is not there, or not ours any more, needs no pruning.
    scene.gone = [
        one for one in gone if (found := scene.live[one]) and ownership.belongs(found, release.project)
    ]
    scene.left = [one for one in left if scene.live[one]]
    scene.kept = [one for one in scene.kept if scene.live[one]]
    return scene


def kept(cluster: Cluster, release: Release) -> Scene:
    """Only what stays of an earlier colour: for who deletes it. Raises ReleaseError."""
    asked(lambda: cluster.discover(["v1"]), "the API")
    known = held(cluster, release.project, release.namespace)
    renew(cluster, known)
    live = asked(lambda: cluster.live(known.kept, release.project), "objects")
    return Scene(cluster, release, known, None, [], live=live, kept=[one for one in known.kept if live[one]])


def renew(cluster: Cluster, known: inventory.Inventory) -> None:
    """Call what an earlier release applied as the server calls it by now, or it could not be found any more."""
    known.objects = asked(lambda: cluster.as_served(known.objects), "the API")
    known.kept = asked(lambda: cluster.as_served(known.kept), "the API")


def held(cluster: Cluster, project: str, namespace: str) -> inventory.Inventory:
    """The project's inventory; raises ReleaseError."""
    one = inventory.ref(project, namespace)
    return inventory.Inventory.read(asked(lambda: cluster.get(one), "the inventory"), project)


def asked(ask: Callable[[], Any], title: str) -> Any:
    """What the server answers; raises ReleaseError in place of ApiError."""
    try:
        return ask()
    except ApiError as error:
        raise problem(error, title) from error


def _begin(cluster: Cluster, release: Release, versions: set[str]) -> Scene:
    asked(lambda: cluster.discover(["v1"]), "the API")
    name = release.namespace
    tasks: list[Callable[[], Any]] = [
        lambda: held(cluster, release.project, name),
        lambda: _allowed(lambda: cluster.get(Ref("v1", "Namespace", "", name)), {"metadata": {"name": name}}),
        lambda: _allowed(lambda: cluster.list("v1", "ResourceQuota", name), []),
        *(lambda one=one: cluster.discover([one]) for one in sorted(versions - {"v1"})),
    ]
    found = asked(lambda: cluster.session.each(lambda task: task(), tasks), "the API")
    return Scene(cluster, release, found[0], found[1], found[2])


def _allowed(ask: Callable[[], Any], otherwise: Any) -> Any:
    """Not everybody who may release may also see these; then nothing is said of them."""
    try:
        return ask()
    except ApiError as error:
        if error.status == 403:
            return otherwise
        raise


def _is_namespaced(cluster: Cluster, scopes: Mapping[tuple[str, str], bool], one: Ref) -> bool:
    resource = cluster.resource(one.api_version, one.kind)
    if resource is not None:
        return resource.namespaced
    own = scopes.get((one.group, one.kind))
    return own if own is not None else not (one.kind in kinds.CLUSTER_SCOPED and kinds.is_own(one))


def word(one: Ref) -> str:
    """What the inventory calls an object that hides values."""
    return f"{one.group}/{one.kind}/{one.name}"


def require_namespace(scene: Scene) -> None:
    """Raises ReleaseError namespace_missing, unless the release brings its namespace."""
    if scene.namespace is None and not brings_namespace(scene):
        raise ReleaseError(
            "namespace_missing", f"namespace {scene.release.namespace} is not there",
            "Make the namespace, or let the release hold it.",
        )  # fmt: skip


def brings_namespace(scene: Scene) -> bool:
    """Is the target's namespace one of the release's objects?"""
    return Ref("v1", "Namespace", "", scene.release.namespace) in scene.refs
