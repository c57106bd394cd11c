# SPDX-License-Identifier: Apache-2.0
"""What a bundle goes together with: a host's kernel, and the versions of the nodes of its cluster."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tidegate.deploy.plugins.module_utils.environment import (
    compatibility,
    kubectl,
    preflight,
)
from ansible_collections.tidegate.deploy.plugins.module_utils.release.errors import ReleaseError

FACTS = {"kernel": "6.1.0-18-amd64"}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Nodes and their versions; empty where the cluster does not answer."""
    versions: dict[str, str] = {}

    def nodes() -> list[dict[str, Any]]:
        if not versions:
            raise ReleaseError("cluster_unreachable", "no answer")
        return [{"name": name, "version": version} for name, version in versions.items()]

    monkeypatch.setattr(kubectl, "is_there", lambda: True)
    monkeypatch.setattr(kubectl, "nodes", nodes)
    return versions


def keys(known: dict[str, Any], kubernetes: str | None = None) -> list[str]:
    return [one["code"] for one in compatibility.hold(known, FACTS, kubernetes)]


def test_a_kernel_that_is_older_stands_in_the_way() -> None:
    assert keys({"kernel": ">=6.1"}) == keys({}) == []
    (told,) = compatibility.hold({"kernel": ">=6.2"}, FACTS, None)
    assert (told["level"], told["code"]) == ("blocking", "preflight_failed")
    assert told["message"].endswith("it is 6.1.0-18-amd64") and "6.2 or newer" in told["hint"]


def test_a_cluster_that_is_too_many_minor_versions_away_stands_in_the_way(cluster: dict[str, str]) -> None:
    cluster.update({"plane": "v1.35.4", "worker": "v1.36.0"})
    assert keys({"k8s_skew": 1}, "1.36") == keys({"k8s_skew": 2}, "1.34.9") == []
    assert keys({"k8s_skew": 0}, "1.36") == ["artifact_version_unsupported"]
    (told,) = compatibility.hold({"k8s_skew": 1}, FACTS, "1.37.0")
    assert told["found"] == "plane has v1.35.4"
    assert keys({"k8s_skew": 3}, "2.0") == ["artifact_version_unsupported"]


def test_where_there_is_no_cluster_yet_or_none_answers_nothing_is_said(
    cluster: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert keys({"k8s_skew": 0}, "1.36") == []
    cluster["plane"] = "v1.20.0"
    assert keys({"k8s_skew": 0}, None) == keys({}, "1.36") == []
    monkeypatch.setattr(kubectl, "is_there", lambda: False)
    assert keys({"k8s_skew": 0}, "1.36") == []


def test_it_is_held_in_every_preview(monkeypatch: pytest.MonkeyPatch) -> None:
    told = preflight.look(
        {
            "wanted": [], "checks": [], "steps": [], "inputs": {}, "work": {}, "clock": 0, "holder": "x",
            "platforms": [], "compatibility": {"kernel": ">=99.0"}, "kubernetes": None,
        }
    )  # fmt: skip
    assert "compatibility" in [one["check"] for one in told["checks"]]
