# SPDX-License-Identifier: Apache-2.0
"""The control plane is killed while it installs: the task is taken up, by one installer, and nothing is left over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conformance.site import Site
from tests.installs.environment import Environment, statuses
from tests.installs.killable import Killable
from tests.installs.made_cluster import MadeCluster
from tests.installs.rotations import Rotations, serials
from tests.lab import Lab, LabHost, kubeadm

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.xdist_group("lab-bundle"),
    pytest.mark.timeout(900),
]


@pytest.fixture
def killable(tmp_path: Path) -> Iterator[Killable]:
    made = Killable(tmp_path / "home")
    yield made
    made.stop()


@pytest.mark.parametrize("step", ["bundle_delivery", "container_runtime"])
def test_a_task_is_taken_up_where_it_was(
    lab: Lab, killable: Killable, bare: Callable[[str], LabHost], step: str
) -> None:
    host = bare(f"kill-{step[:6]}")
    site = Site(killable.admin, killable.admin.post("/projects", {"name": "killed"})["id"], lab)
    environment = Environment.make(site, host)
    started = environment.apply(environment.preview())
    environment.when(started["task_id"], lambda task: statuses(task, host).get(step) == "running")
    killable.die()
    killable.come_back()
    done = environment.ended(started["task_id"])
    assert done["state"] == "succeeded", done["diagnostics_json"]
    assert "resumed" in environment.told(done)
    assert {step: word for step, word in statuses(done, host).items() if word == "failed"} == {}
    assert environment.show()["status"] == "ready"
    claim = host.exec(["cat", "/var/lib/tidegate/environment.lock"]).stdout
    assert '"until": 0' in claim, "the host is free again"


@pytest.mark.skipif(bool(kubeadm.why_not()), reason=kubeadm.why_not())
def test_a_rotation_of_certificates_is_taken_up_where_it_was(
    lab: Lab, killable: Killable, bare: Callable[[str], LabHost]
) -> None:
    """What works on the host goes on alone, and whoever takes the task up waits for it."""
    host = bare("kill-plane")
    site = Site(killable.admin, killable.admin.post("/projects", {"name": "killed"})["id"], lab)
    rotations = Rotations(MadeCluster.build(site, host))
    before = rotations.rows()
    task_id = rotations.start(rotations.preview())
    rotations.until_away("kube-apiserver")
    killable.die()
    killable.come_back()
    done = rotations.ended(task_id)
    assert done["state"] == "succeeded", done["diagnostics_json"]
    assert "resumed" in rotations.told(task_id)
    after = rotations.rows()
    assert all(serials(after)[name] != serial for name, serial in serials(before).items())
    assert site.admin.post(f"/clusters/{rotations.cluster.id}/connect/test", {})["reachable"]
    claim = host.exec(["cat", "/var/lib/tidegate/environment.lock"]).stdout
    assert '"until": 0' in claim, "the host is free again"
