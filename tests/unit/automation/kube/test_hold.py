# SPDX-License-Identifier: Apache-2.0
"""The inventory is written by compare and swap: whoever loses that has lost the project, unless only an answer was."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.kube.hold import Hold
from ansible_collections.tidegate.deploy.plugins.module_utils.kube.inventory import Inventory
from ansible_collections.tidegate.deploy.plugins.module_utils.kube.session import ApiError
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError


class Store:
    """The one ConfigMap of a server; after a write it breaks off `breaks` times, and is then asked once more."""

    def __init__(self, breaks: int = 0) -> None:
        self.there: dict[str, Any] | None = None
        self.version, self.breaks = 0, breaks

    def get(self, one: Any) -> dict[str, Any] | None:
        return self.there

    def write(self, thing: dict[str, Any]) -> dict[str, Any]:
        done = self._write(thing)
        if self.breaks:
            self.breaks -= 1
            return self._write(thing)
        return done

    def _write(self, thing: dict[str, Any]) -> dict[str, Any]:
        if thing["metadata"].get("resourceVersion") != (str(self.version) if self.there else None):
            raise ApiError(409, {"message": "the object has been modified"})
        self.version += 1
        self.there = {**thing, "metadata": {**thing["metadata"], "resourceVersion": str(self.version)}}
        return self.there


def hold(store: Store, token: int | None) -> Hold:
    held = Inventory.read(store.there, "shop")
    return Hold(store, "shop", "space", held, token)  # type: ignore[arg-type]


@pytest.mark.parametrize("phase", ["begin", "go_on"])
def test_a_write_that_was_done_and_not_answered_is_not_anothers(phase: str) -> None:
    store = Store()
    its = hold(store, 7)
    if phase == "go_on":
        its.begin(release_id="rel_1")
    store.breaks = 1
    getattr(its, phase)(release_id="rel_1", kept_until=5.0)
    assert its.held.kept_until == 5.0
    its.go_on(paused={"step": 1})
    assert Inventory.read(store.there, "shop").paused == {"step": 1}


def test_what_another_wrote_meanwhile_ends_it() -> None:
    store = Store()
    its = hold(store, 7)
    its.begin(release_id="rel_1")
    hold(store, 8).begin(release_id="rel_1")
    with pytest.raises(ReleaseError) as lost:
        its.go_on()
    assert lost.value.error_key == "target_locked"


def test_by_hand_nobody_can_tell_whose_the_same_write_was() -> None:
    store = Store()
    its, other = hold(store, None), hold(store, None)
    other.begin(release_id="by-hand")
    other.go_on(kept_until=5.0)
    its.held = Inventory.read(store.there, "shop")
    other.go_on(kept_until=6.0)
    with pytest.raises(ReleaseError):
        its.go_on(kept_until=6.0)
