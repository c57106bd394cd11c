# SPDX-License-Identifier: Apache-2.0
"""What differs between two bundles is told by name; what does not is not told."""

from __future__ import annotations

from controlplane.adapters.bundle import comparison, rules
from tests.unit.bundle_folder import TOOL, index

from .conftest import Make


def test_a_bundle_is_the_same_as_itself(make: Make) -> None:
    told = comparison.compare(make("a"), make("b"))
    assert told["same"]
    assert told["digest"][0] == told["digest"][1]


def test_everything_that_moved_is_told(make: Make) -> None:
    old = make(
        "old", defaults={"port": 1, "gone": 2}, features={"vip": {"artifacts": ["tool"], "inputs": []}}
    )
    step = {**index()["steps"][0], "name": "new", "timeout": 1}
    steps = [{**index()["steps"][0], "timeout": 9}, step]
    runtimes = {
        "compose": {"versions": [{"version": "2.40", "status": "blocked", "artifacts": ["tool", "more"]}]}
    }
    more = {"id": "more", "type": "config", "path": "templates/more"}
    new = make("new", locked=False, version="2", steps=steps, runtimes=runtimes, defaults={"port": 5},
               artifacts=[*index()["artifacts"], more])  # fmt: skip
    (new / TOOL).write_text("longer tool")
    (new / "templates/a.j2").write_text("b")
    (new / "templates/more").write_text("c")
    assert rules.part("lock").lock(str(new))[2] == []
    told = comparison.compare(old, new)
    assert not told["same"]
    assert told["version"] == ["1", "2"]
    assert told["artifacts"]["added"] == ["more"]
    assert told["artifacts"]["changed"]["tool"]["size"] == [6, 11]
    assert told["steps"] == {"added": ["new"], "removed": [], "changed": {"look": {"timeout": [5, 9]}}}
    assert told["versions"]["removed"] == ["compose 2.39"]
    assert told["versions"]["changed"]["compose 2.40"]["status"] == ["supported", "blocked"]
    assert told["features"]["removed"] == ["vip"]
    assert told["defaults"]["changed"] == {"port": {"value": [1, 5]}}
    assert list(told["files"]["changed"]) == ["templates/a.j2"]
    back = comparison.compare(new, old)
    assert back["artifacts"]["removed"] == ["more"]
