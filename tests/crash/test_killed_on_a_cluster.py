# SPDX-License-Identifier: Apache-2.0
"""Killed with -9 while a cluster is waited for: taken up again, it goes on with its own work and ends once."""

from __future__ import annotations

import pytest

from tests.conformance.runtimes import OnApiServer
from tests.crash.installation import KILLED, Installation, assert_ended_once
from tests.lab.kube import KubeApi

pytestmark = [
    pytest.mark.lab,
    pytest.mark.kubernetes,
    pytest.mark.slow,
    pytest.mark.xdist_group("lab-crash"),
]


@pytest.fixture(scope="package")
def on_api_server(installation: Installation, kube_api: KubeApi) -> OnApiServer:
    return OnApiServer(installation.site, kube_api)


@pytest.mark.parametrize("victim", KILLED)
def test_while_a_rollout_is_waited_for(
    installation: Installation, on_api_server: OnApiServer, victim: str
) -> None:
    its = on_api_server.application()
    its.add("1", "web", "side", tags=["1"], health_timeout=15)
    assert its.release("1", "1")["lifecycle_state"] == "applied"
    # Without a node its pods never run: it is waited for until the time is over, also by who takes it up.
    preview = its.preview("1", "2-bad")
    its.service.start(preview)
    release_id = preview["release_id"]
    its.service.when(release_id, lambda release: release["status"] == "verifying")
    installation.kill(victim)
    assert assert_ended_once(installation, its.service, release_id) == "failed"
    ended = installation.site.admin.get(f"/deploy/releases/{release_id}")
    assert ended["diagnostics_json"]["error_key"] == "rollout_timeout"
    assert "resumed" in its.service.told(ended)
    back = its.service.rollback(ended)
    assert back["lifecycle_state"] == "applied", back["diagnostics_json"]
    assert its.answer() == "shop 1"
