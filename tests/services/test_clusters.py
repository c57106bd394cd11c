# SPDX-License-Identifier: Apache-2.0
"""Lists of clusters by when their credentials end, and changes at the same moment, on both databases."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from controlplane.domain.errors import Problem
from controlplane.domain.permission import system_actor
from controlplane.services import clusters
from controlplane.store.pages import PageRequest
from controlplane.store.tables import Cluster, Target
from tests.services.installation import Installation

EVERYBODY = system_actor("worker")


def fill(shop: Installation) -> None:
    """Write clusters whose credentials end in so many days; two at the same moment, two at no known one."""
    now = shop.core.clock.now()
    days = {"a": 5.5, "b": None, "c": 1, "d": -2, "e": None, "f": 5.5}
    with shop.core.database.write() as session:
        session.add_all(
            Cluster(
                id=f"cls_{name}", project_id="prj", name=name, endpoint="https://192.0.2.1:6443",
                kubeconfig_cipher=b"-", credential_kind="token", created_by="usr", created_at=now,
                credential_expires_at=None if left is None else now + timedelta(days=left, microseconds=7),
                last_check={},
            )
            for name, left in days.items()
        )  # fmt: skip


def names(page: dict[str, Any]) -> str:
    return "".join(item["name"] for item in page["items"])


@pytest.mark.parametrize("limit", [1, 2, 4, 10])
@pytest.mark.parametrize(
    ("sort", "order"), [("credential_expires_at", "dcafbe"), ("-credential_expires_at", "ebfacd")]
)
def test_each_is_listed_once_in_the_order_of_its_end(
    shop: Installation, limit: int, sort: str, order: str
) -> None:
    fill(shop)
    found, cursor = "", None
    while True:
        page = clusters.list_(shop.core, EVERYBODY, {}, PageRequest(limit, cursor, sort))
        assert page["total_estimate"] == 6
        found, cursor = found + names(page), page["next"]
        if cursor is None:
            break
    assert found == order


def test_those_that_end_before_a_time(shop: Installation) -> None:
    fill(shop)
    now = shop.core.clock.now()
    for days, expected in ((0, "d"), (3, "cd"), (5.5, "cd"), (6, "acdf")):
        filters = {"expires_before": now + timedelta(days=days)}
        assert names(clusters.list_(shop.core, EVERYBODY, filters, PageRequest())) == expected


def test_a_cluster_with_a_target_stays(shop: Installation) -> None:
    fill(shop)
    with shop.core.database.write() as session:
        target = session.query(Target).first()
        assert target is not None
        target.cluster_id, target.namespace = "cls_a", "shop"
    with pytest.raises(Problem, match="resource_in_use"):
        clusters.delete(shop.core, EVERYBODY, "cls_a")
    clusters.delete(shop.core, EVERYBODY, "cls_b")
    assert "a" in names(clusters.list_(shop.core, EVERYBODY, {}, PageRequest()))
    assert "b" not in names(clusters.list_(shop.core, EVERYBODY, {}, PageRequest()))
