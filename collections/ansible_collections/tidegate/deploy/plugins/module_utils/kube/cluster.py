# SPDX-License-Identifier: Apache-2.0
"""A cluster as a release sees it: which kinds it serves, and objects by their references."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

from . import kinds, ownership
from .kinds import Ref
from .session import ApiError, Session

_APPLY = "application/apply-patch+yaml"
_PAGE = 200
# From so many objects of a kind on, one list is cheaper than asking for each.
_FEW = 4


class Resource(NamedTuple):
    """How a kind is called in addresses."""

    plural: str
    namespaced: bool


class Cluster:
    """Asks through a session; remembers which kinds there are."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._resources: dict[tuple[str, str], Resource] = {}
        self._served: dict[str, bool] = {}

    def discover(self, api_versions: Iterable[str], again: bool = False) -> None:
        """Ask which kinds the server has in these versions, where that is not known yet."""
        asked = [one for one in dict.fromkeys(api_versions) if again or one not in self._served]
        for version, found in zip(asked, self.session.each(self._kinds, asked), strict=True):
            self._served[version] = found is not None
            for one in found or []:
                if "/" not in one["name"]:
                    self._resources[version, one["kind"]] = Resource(one["name"], bool(one["namespaced"]))

    def resource(self, api_version: str, kind: str) -> Resource | None:
        """How a kind is asked for; None when the server has no such kind."""
        return self._resources.get((api_version, kind))

    def as_served(self, refs: Iterable[Ref]) -> list[Ref]:
        """The same objects, each in a version that the server has: it may have dropped the one they were applied in."""
        found = list(refs)
        self.discover(one.api_version for one in found)
        lost = {one.group for one in found if one.group and self.resource(one.api_version, one.kind) is None}
        others = dict(zip(sorted(lost), self.session.each(self._versions, sorted(lost)), strict=True))
        self.discover(version for versions in others.values() for version in versions)
        return [self._as_served(one, others.get(one.group, [])) for one in found]

    def get(self, one: Ref) -> dict[str, Any] | None:
        """An object; None when it, or its kind, is not there."""
        path = self._path(one)
        if path is None:
            return None
        try:
            return self.session.get(path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def list(
        self,
        api_version: str,
        kind: str,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        keep: Callable[[Mapping[str, Any]], dict[str, Any]] = dict,
    ) -> list[dict[str, Any]]:
        """The objects of a kind that the server knows; `labels` and `fields` are selectors.

        `keep` makes of each, page by page, what is kept of it.
        """
        resource = self._resources.get((api_version, kind))
        if resource is None:
            return []
        path = self._root(api_version, resource, namespace)
        query: dict[str, Any] = {"limit": _PAGE}
        query |= {
            name: value for name, value in (("labelSelector", labels), ("fieldSelector", fields)) if value
        }
        found: list[dict[str, Any]] = []
        while True:
            page = self.session.get(path, query)
            found += [
                keep({"apiVersion": api_version, "kind": kind, **one}) for one in page.get("items") or []
            ]
            query["continue"] = (page.get("metadata") or {}).get("continue")
            if not query["continue"]:
                return found

    def live(
        self,
        refs: Iterable[Ref],
        project: str,
        keep: Callable[[Mapping[str, Any]], dict[str, Any]] = dict,
    ) -> dict[Ref, dict[str, Any] | None]:
        """The objects as they are, None for those that are not there: in few requests, several at a time."""
        wanted = list(dict.fromkeys(refs))
        found: dict[Ref, dict[str, Any] | None] = {}
        groups: dict[tuple[str, str, str], list[Ref]] = {}
        for one in wanted:
            groups.setdefault((one.api_version, one.kind, one.namespace), []).append(one)
        many = [key for key, members in groups.items() if len(members) >= _FEW]
        selector = f"{ownership.PROJECT}={project}"
        for listed in self.session.each(lambda key: self._listed(*key, selector, keep), many):
            found |= {kinds.ref(thing): thing for thing in listed}
        found = {one: found[one] for one in wanted if one in found}
        left = [one for one in wanted if one not in found]
        singles = self.session.each(self.get, left)
        found |= {one: keep(thing) if thing else None for one, thing in zip(left, singles, strict=True)}
        return found

    def apply(self, thing: Mapping[str, Any], force: bool = False, dry_run: bool = False) -> dict[str, Any]:
        """Server-side apply, and what came of it. Raises ApiError: 409 with conflicts when others own a field."""
        query = {"fieldManager": ownership.MANAGER, "force": str(force).lower(), "fieldValidation": "Strict"}
        if dry_run:
            query["dryRun"] = "All"
        path = self._path(kinds.ref(thing))
        if path is None:
            raise ApiError(404, {"message": f"no kind {thing['kind']} in {thing['apiVersion']}"})
        return self.session.send("PATCH", path, query, thing, _APPLY)

    def write(self, thing: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object, or replace the one of exactly this resource version. Raises ApiError 409 when moved."""
        one = kinds.ref(thing)
        path = self._path(one) or ""
        query = {"fieldManager": ownership.MANAGER}
        if "resourceVersion" in thing["metadata"]:
            return self.session.send("PUT", path, query, thing)
        return self.session.send("POST", path.rpartition("/")[0], query, thing)

    def delete(self, live: Mapping[str, Any], propagation: str = "Background") -> bool:
        """Delete exactly this object, not another of its name; False when it is gone already."""
        options = {"propagationPolicy": propagation, "preconditions": {"uid": live["metadata"]["uid"]}}
        path = self._path(kinds.ref(live))
        if path is None:
            return False
        try:
            self.session.send("DELETE", path, None, options)
        except ApiError as error:
            if error.status in (404, 409):
                return False
            raise
        return True

    def logs(self, namespace: str, pod: str, container: str, previous: bool, lines: int = 40) -> str:
        """The last lines of a container's log; empty when they cannot be had."""
        path = f"/api/v1/namespaces/{quote(namespace)}/pods/{quote(pod)}/log"
        query = {
            "container": container,
            "tailLines": lines,
            "previous": str(previous).lower(),
            "limitBytes": 65536,
        }
        try:
            return self.session.text(path, query)
        except ApiError:
            return ""

    def _listed(
        self,
        api_version: str,
        kind: str,
        namespace: str,
        labels: str,
        keep: Callable[[Mapping[str, Any]], dict[str, Any]],
    ) -> list[dict[str, Any]]:
        try:
            return self.list(api_version, kind, namespace, labels, keep=keep)
        except ApiError as error:
            # Whoever may not list may still be allowed to get each.
            if error.status in (403, 404):
                return []
            raise

    def _as_served(self, one: Ref, versions: Iterable[str]) -> Ref:
        candidates = [one, *(one._replace(api_version=version) for version in versions)]
        return next((each for each in candidates if self.resource(each.api_version, each.kind)), one)

    def _versions(self, group: str) -> list[str]:
        """The versions of a group, the preferred one first; none where there is no such group any more."""
        try:
            told = self.session.get(f"/apis/{quote(group)}")
        except ApiError as error:
            if error.status == 404:
                return []
            raise
        rows = [told.get("preferredVersion") or {}, *(told.get("versions") or [])]
        return list(dict.fromkeys(str(one["groupVersion"]) for one in rows if one.get("groupVersion")))

    def _kinds(self, api_version: str) -> list[dict[str, Any]] | None:
        try:
            return list(self.session.get(_version_path(api_version)).get("resources") or [])
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def _root(self, api_version: str, resource: Resource, namespace: str) -> str:
        path = _version_path(api_version)
        if resource.namespaced and namespace:
            path += f"/namespaces/{quote(namespace)}"
        return f"{path}/{resource.plural}"

    def _path(self, one: Ref) -> str | None:
        resource = self._resources.get((one.api_version, one.kind))
        return (
            f"{self._root(one.api_version, resource, one.namespace)}/{quote(one.name, safe='')}"
            if resource
            else None
        )


def _version_path(api_version: str) -> str:
    return f"/apis/{quote(api_version)}" if "/" in api_version else f"/api/{quote(api_version)}"
