# SPDX-License-Identifier: Apache-2.0
"""A release to a cluster as its spec says it."""

from typing import Any

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.kube import release
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError

CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"
PARAMS = {
    "rolling": {},
    "blue_green": {"workload": "web", "service": "web"},
    "canary": {"workload": "web"},
}


def spec(strategy: str, **more: Any) -> dict[str, Any]:
    return {"project": "shop", "namespace": "shop", "manifests": CONFIG, "strategy": strategy,
            "strategy_params": PARAMS[strategy], **more}  # fmt: skip


@pytest.mark.parametrize("strategy", ["blue_green", "canary"])
@pytest.mark.parametrize("given", [{}, {"release_id": None}, {"release_id": "by-hand"}])
def test_what_is_told_from_what_runs_by_its_release_needs_an_id(strategy: str, given: dict[str, Any]) -> None:
    """With one name for all of them the second release would be taken for the first, and change it in place."""
    with pytest.raises(ReleaseError) as refused:
        release.read(spec(strategy, **given))
    assert (refused.value.error_key, refused.value.detail["field"]) == ("validation_error", "release_id")
    assert "another one for each release" in refused.value.hint
    assert release.read(spec(strategy, release_id="shop-2")).release_id == "shop-2"


def test_a_rolling_release_by_hand_needs_none() -> None:
    assert release.read(spec("rolling")).release_id == "by-hand"


def test_only_what_a_lost_run_of_it_left_is_its_own() -> None:
    assert release.read(spec("rolling", release_id="rel_1")).resumed is None
    assert release.read(spec("rolling", release_id="rel_1", taken_up=True)).resumed == "rel_1"
