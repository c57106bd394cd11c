# SPDX-License-Identifier: Apache-2.0
"""What a run is given to get to a cluster: its credential, and where its name may lead."""

from __future__ import annotations

import dataclasses
import json

from controlplane.domain.cluster import Connection
from controlplane.services import run_place
from controlplane.store import tables
from tests.services.installation import Installation


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
