# SPDX-License-Identifier: Apache-2.0
"""What a run is given to get to a cluster: its credential, and where its name may lead."""

from __future__ import annotations

import dataclasses
import json

import pytest

from controlplane.domain.cluster import Connection
from controlplane.domain.errors import Problem
from controlplane.services import cluster_connection, run_place
from controlplane.store import tables
from tests.services.installation import Installation, move_into_cluster


def test_the_networks_that_an_endpoint_may_lead_to_go_with_the_credential(shop: Installation) -> None:
    settings = dataclasses.replace(shop.core.settings, cluster_address_allow=("127.0.0.0/8",))
    core = dataclasses.replace(shop.core, settings=settings)
    kept = Connection("https://api.shop.example", token="t").kubeconfig()
    now = core.clock.now()
    with core.database.write() as session:
        session.add(
            tables.Cluster(
                id="cls", project_id="prj", name="blue", endpoint="https://api.shop.example", created_at=now,
                kubeconfig_cipher=core.vault.encrypt(json.dumps(kept).encode()), credential_kind="token",
                created_by="usr",
            )
        )  # fmt: skip
        session.flush()
        target = session.get_one(tables.Target, shop.targets["development"])
        target.cluster_id, target.namespace = "cls", "shop"
        place = run_place.of_target(core, session, target)
        session.rollback()
    given = json.loads(place.documents["release_kubeconfig_file"])["clusters"][0]["cluster"]
    assert given.pop("extensions") == [{"name": "tidegate", "extension": {"address_allow": ["127.0.0.0/8"]}}]
    assert given == kept["clusters"][0]["cluster"]


def test_an_unverified_cluster_is_left_alone_once_the_installation_lets_none_in_any_more(
    shop: Installation,
) -> None:
    kept = Connection("https://api.shop.example", token="t", is_insecure=True).kubeconfig()
    move_into_cluster(shop)
    with shop.core.database.write() as session:
        cluster = session.get_one(tables.Cluster, "cls")
        cluster.insecure_skip_tls_verify = True
        cluster.kubeconfig_cipher = shop.core.vault.encrypt(json.dumps(kept).encode())
    lax = dataclasses.replace(
        shop.core, settings=dataclasses.replace(shop.core.settings, cluster_allow_insecure_tls=True)
    )
    with shop.core.database.read() as session:
        target = session.get_one(tables.Target, shop.targets["development"])
        cluster = session.get_one(tables.Cluster, "cls")
        assert run_place.of_target(lax, session, target).group == "release_clusters"
        assert cluster_connection.opened(lax, cluster).is_insecure
        for use in (
            lambda: run_place.of_target(shop.core, session, target),
            lambda: cluster_connection.opened(shop.core, cluster),
        ):
            with pytest.raises(Problem) as refused:
                use()
            assert refused.value.error_key == "kubeconfig_unsafe"
