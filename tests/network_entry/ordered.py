# SPDX-License-Identifier: Apache-2.0
"""A cluster that is ordered through the API and made with kubeadm on lab hosts, with a VIP or without."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.conformance.site import Site
from tests.demo import server
from tests.demo.rest import Person
from tests.demo.test_walk import free_address
from tests.installs.conftest import settings
from tests.installs.environment import Environment
from tests.lab import Lab, LabHost, kubeadm

SECONDS = 900


@contextlib.contextmanager
def serving(lab: Lab, home: Path, project: str) -> Iterator[Site]:
    """A server of its own: it trusts the lab's bundle, which has keepalived, too."""
    address = free_address()
    admin = Person(f"http://{address}", "admin", server.initialise(home))
    (home / "tidegate.toml").write_text(settings() + "network_entry_check_seconds = 5\n")
    process = server.start(home, address)
    try:
        yield Site(admin, admin.post("/projects", {"name": project})["id"], lab, home=home)
    finally:
        server.stop(process.pid)


def order(
    site: Site,
    name: str,
    nodes: Sequence[LabHost],
    planes: int = 1,
    network_entry: Mapping[str, Any] | None = None,
) -> tuple[Environment, str]:
    """Order a cluster whose first hosts are control planes, and wait until it is made; answers its id, too."""
    body: dict[str, Any] = {
        "project_id": site.project_id, "name": name, "stage": "development", "inputs": kubeadm.INPUTS,
        "nodes": [
            {"host_id": site.register(host), "role": "control_plane" if number < planes else "worker"}
            for number, host in enumerate(nodes)
        ],
    }  # fmt: skip
    if network_entry:
        body["network_entry"] = dict(network_entry)
    made = site.admin.post("/clusters", body)
    environment = Environment(site, str(made["environment"]["id"]), nodes)
    preview = environment.when(made["install"]["task_id"], lambda task: task["status"] != "previewing")
    task = environment.ended(environment.apply(preview)["task_id"], SECONDS)
    assert task["state"] == "succeeded", task["diagnostics_json"]
    return environment, str(environment.show()["cluster_id"])


def leads_to(host: LabHost, name: str) -> str:
    """Where a host finds the control plane of a cluster by its name."""
    return host.exec(["getent", "hosts", f"{name}.control-plane.internal"]).stdout.split()[0]
