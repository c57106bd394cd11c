# SPDX-License-Identifier: Apache-2.0
"""A bare host becomes a cluster through the API, is released to, and is bare again."""

from __future__ import annotations

import pytest

from tests.installs.environment import statuses
from tests.installs.made_cluster import MadeCluster
from tests.lab import kubeadm

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.xdist_group("lab-bundle"),
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(kubeadm.why_not()), reason=kubeadm.why_not()),
]


def test_a_bare_host_to_a_cluster_to_a_release(made_cluster: MadeCluster) -> None:
    site, environment, host = made_cluster.site, made_cluster.environment, made_cluster.host
    ordered = made_cluster.ordered["environment"]
    assert (ordered["runtime_type"], ordered["status"]) == ("k8s", "draft")
    assert statuses(made_cluster.task, host)["control_plane_init"] == "succeeded"

    assert environment.show()["status"] == "ready"
    cluster = made_cluster.show()
    assert (cluster["name"], cluster["mode"], cluster["status"]) == ("made", "platform_managed", "ready")
    assert cluster["endpoint"] == f"https://{host.address}:6443"
    tested = site.admin.post(f"/clusters/{cluster['id']}/connect/test", {})
    assert tested["reachable"] and tested["server_version"].startswith("v1.36")
    assert tested["lacking"] == []

    release = made_cluster.release("1")
    assert release["lifecycle_state"] == "applied", release["diagnostics_json"]

    again = environment.install(inputs=kubeadm.INPUTS)
    assert again["state"] == "succeeded", again["diagnostics_json"]
    assert set(statuses(again, host).values()) == {"unchanged"}
    assert environment.show()["cluster_id"] == cluster["id"]
    assert environment.health()["healthy"] is True


def test_a_cluster_is_gone_with_its_environment_and_says_so(made_cluster: MadeCluster) -> None:
    """The last of this package: nothing of the cluster is left."""
    target = made_cluster.target
    # With the install that made it go those that came after.
    done = made_cluster.environment.install(kind="rollback", task_id=made_cluster.task["task_id"])
    assert done["state"] == "succeeded", done["diagnostics_json"]
    gone = made_cluster.show()
    assert (gone["status"], gone["last_check"]["reachable"]) == ("gone", False)
    assert "taken away" in gone["last_check"]["detail"]
    found = made_cluster.site.admin.get(f"/deploy/targets/{target}")["cluster_access"]
    assert (found["ok"], found["error_key"]) == (False, "cluster_unreachable")
    preview = made_cluster.service.preview(target, "1")
    assert preview["preview_ref"] is None
    assert [check["code"] for check in preview["preview"]["checks"]] == ["cluster_unreachable"]
    assert made_cluster.environment.show()["status"] == "draft"
