# SPDX-License-Identifier: Apache-2.0
"""One operation at a time on a project, fenced: each phase first writes the inventory, and only as it last knew it."""

from __future__ import annotations

import dataclasses
from typing import Any

from ..release.errors import ReleaseError
from . import inventory, scene
from .api_problem import problem
from .cluster import Cluster
from .inventory import Inventory
from .session import ApiError

_TRIES = 3


class Hold:
    """What this operation knows of the inventory."""

    def __init__(
        self, cluster: Cluster, project: str, namespace: str, held: Inventory, token: int | None
    ) -> None:
        self._cluster = cluster
        self._project = project
        self._namespace = namespace
        self.held = held
        held.require_newest(token)
        self._token = token

    def begin(self, **changes: Any) -> None:
        """Take the project over from an operation with no newer token; raises ReleaseError target_locked.

        Of what an older run of the same release wrote meanwhile nothing is forgotten.
        """
        if self._token is not None:
            changes["fencing_token"] = self._token
        known = {self.held.release_id, changes.get("release_id")}
        for _ in range(_TRIES):
            self.held.require_newest(self._token)
            if self._write(changes):
                return
            self.held = scene.held(self._cluster, self._project, self._namespace)
            if self.held.release_id not in known:
                break
            if "objects" in changes:
                more = {*changes["objects"], *self.held.objects, *self.held.kept}
                hidden = inventory.joined(self.held.hidden, changes["hidden"])
                changes |= {"objects": sorted(more), "hidden": hidden}
        raise self._lost()

    def go_on(self, **changes: Any) -> None:
        """Write the next phase; raises ReleaseError target_locked when another operation has begun meanwhile.

        It is written also when nothing is changed by it: only the server knows whether another has begun.
        """
        if not self._write(changes):
            raise self._lost()

    def _write(self, changes: dict[str, Any]) -> bool:
        wanted = dataclasses.replace(self.held, **changes)
        try:
            written = self._cluster.write(wanted.config_map(self._project, self._namespace))
        except ApiError as error:
            if error.status != 409:
                raise problem(error, "the inventory") from error
            return self._is_written(wanted)
        wanted.resource_version = written["metadata"]["resourceVersion"]
        self.held = wanted
        return True

    def _is_written(self, wanted: Inventory) -> bool:
        """Was it this very write that moved it? A kept connection may break after it was done, and it is sent again.

        Only whoever has the token writes it; what is written without one may as well be another's.
        """
        if self._token is None or wanted.fencing_token != self._token:
            return False
        there = scene.held(self._cluster, self._project, self._namespace)
        if dataclasses.replace(there, resource_version=wanted.resource_version) != wanted:
            return False
        self.held = there
        return True

    def _lost(self) -> ReleaseError:
        return ReleaseError(
            "target_locked", f"another operation on {self._project} has begun meanwhile",
            "See what it does; this run has stopped where it was.",
        )  # fmt: skip
