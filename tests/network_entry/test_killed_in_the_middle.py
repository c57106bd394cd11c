# SPDX-License-Identifier: Apache-2.0
"""The control plane is killed while it makes an entry: the task is taken up, and comes to a definite end."""

from __future__ import annotations

import pytest

from tests.lab import LabHost
from tests.network_entry.cluster import Cluster, step
from tests.network_entry.conftest import Served

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.xdist_group("lab-network-entry"),
    pytest.mark.timeout(900),
]


@pytest.mark.parametrize("name", ["preflight", "activate"])
def test_a_task_is_taken_up_where_it_was(
    served: Served, cluster: Cluster, three: list[LabHost], name: str
) -> None:
    started = cluster.start(cluster.preview())
    cluster.when(
        started["task_id"], lambda task: (step(task, three[0], name) or {}).get("status") == "running"
    )
    served.die()
    served.come_back()
    done = cluster.ended(started["task_id"])
    assert done["state"] == "succeeded", done["diagnostics_json"]
    assert "resumed" in cluster.told(done)
    assert cluster.show()["status"] == "ready" and cluster.holders() == ["nen-a"]
