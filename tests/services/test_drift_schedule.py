# SPDX-License-Identifier: Apache-2.0
"""Targets are looked at by themselves, each once an interval, and only where something was released."""

from __future__ import annotations

import dataclasses
import json

from sqlalchemy import select

from controlplane.domain.cluster import Connection
from controlplane.ports.runner import RunOutcome
from controlplane.services import jobs, target_status
from controlplane.services.core import Core
from controlplane.store.tables import Cluster, Environment, Event, Job, Service, ServiceVersion, Target
from tests.services.installation import Installation
from tests.services.test_releases import applied

HOUR = 3600


def every_hour(shop: Installation) -> Core:
    settings = dataclasses.replace(shop.core.settings, drift_interval_seconds=HOUR)
    return dataclasses.replace(shop.core, settings=settings)


def looks(shop: Installation) -> list[Job]:
    with shop.core.database.read() as session:
        return list(session.scalars(select(Job).where(Job.kind == "target_status")))


def test_nothing_is_looked_at_unless_the_installation_wants_it(shop: Installation) -> None:
    applied(shop)
    assert target_status.look_where_due(shop.core) == 0
    assert looks(shop) == []


def test_a_target_with_a_release_is_looked_at_once_an_interval(shop: Installation) -> None:
    core = every_hour(shop)
    assert target_status.look_where_due(core) == 0
    applied(shop)
    assert target_status.look_where_due(core) == 1
    # The next tick, and a second scheduler.
    assert target_status.look_where_due(core) == 0
    (look,) = looks(shop)
    assert look.resource_id == shop.targets["development"]
    # One that waits is not asked for again, however late it is.
    shop.clock.pass_(seconds=2 * HOUR)
    assert target_status.look_where_due(core) == 0
    with core.database.write() as session:
        jobs.finish(session.get_one(Job, look.id), core.clock.now(), "failed")
    assert target_status.look_where_due(core) == 1
    assert len(looks(shop)) == 2


def test_a_look_that_the_schedule_asked_for_finds_what_drifted_and_tells_it_once(shop: Installation) -> None:
    core = every_hour(shop)
    release = applied(shop)
    assert target_status.look_where_due(core) == 1
    lease = shop.claim()
    assert lease is not None
    job = target_status.TargetStatusJob(core, lease)
    run = job.begin()
    assert run is not None
    assert run.playbook == "target_status.yml"
    seeing = job.end(RunOutcome("successful", 0, {"a.status": {"services": [], "release_id": None}}))
    assert seeing is not None
    assert seeing.playbook == "release_preview.yml"
    assert seeing.documents["release_spec_file"]["release_id"] == release["release_id"]
    row = {"name": "web", "action": "change", "changes": [{"path": "image", "before": "1", "after": "2"}]}
    found = {"services": [row, {"name": "side", "action": "none"}]}
    assert job.end(RunOutcome("successful", 0, {"a.preview": found})) is None
    with core.database.read() as session:
        target = session.get_one(Target, shop.targets["development"])
        told = list(session.scalars(select(Event).where(Event.action == "resource.drift_found")))
        assert [one["service"] for one in target.status["drift"]] == ["web"]
        assert target.status_at == core.clock.now()
    assert [(one.resource_id, one.status) for one in told] == [(shop.targets["development"], "warning")]
    # The next look is an interval later.
    assert target_status.look_where_due(core) == 0
    shop.clock.pass_(seconds=HOUR)
    assert target_status.look_where_due(core) == 1


def in_cluster(shop: Installation) -> None:
    """Let the service and its target in development be of a cluster."""
    connection = Connection(endpoint="https://192.0.2.10:6443", token="a-token")
    manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\n"
    with shop.core.database.write() as session:
        session.add(
            Cluster(
                id="cls", project_id="prj", name="a", endpoint=connection.endpoint, credential_kind="token",
                kubeconfig_cipher=shop.core.vault.encrypt(json.dumps(connection.kubeconfig()).encode()),
                created_by="usr", created_at=shop.clock.now(),
            )
        )  # fmt: skip
        session.flush()
        target = session.get_one(Target, shop.targets["development"])
        target.cluster_id, target.namespace, target.host_ids = "cls", "shop-ns", []
        for row in (target, session.get_one(Service, "svc"), session.get_one(Environment, "env_development")):
            row.runtime_type = "k8s"
        session.get_one(ServiceVersion, "ver1").template = manifest


def test_a_look_at_a_cluster_that_the_schedule_asked_for_finds_what_drifted(shop: Installation) -> None:
    core = every_hour(shop)
    in_cluster(shop)
    release = applied(shop)
    assert release["lifecycle_state"] == "applied"
    assert target_status.look_where_due(core) == 1
    lease = shop.claim()
    assert lease is not None
    job = target_status.TargetStatusJob(core, lease)
    run = job.begin()
    assert run is not None
    assert (run.playbook, run.group, [one.name for one in run.hosts]) == (
        "target_status.yml", "release_clusters", ["a"],
    )  # fmt: skip
    assert run.documents["release_spec_file"]["namespace"] == "shop-ns"
    assert json.loads(run.documents["release_kubeconfig_file"])["users"][0]["user"]["token"] == "a-token"
    seeing = job.end(RunOutcome("successful", 0, {"a.status": {"services": [], "release_id": None}}))
    assert seeing is not None
    assert (seeing.playbook, seeing.group) == ("release_preview.yml", "release_clusters")
    spec = seeing.documents["release_spec_file"]
    assert (spec["release_id"], spec["namespace"]) == (release["release_id"], "shop-ns")
    change = {"path": "spec.replicas", "before": 3, "after": 1}
    row = {"name": "Deployment/web", "action": "change", "changes": [change]}
    assert job.end(RunOutcome("successful", 0, {"a.preview": {"services": [row]}})) is None
    seen = target_status.latest(core, shop.releaser, shop.targets["development"])
    assert [(one["host"], one["service"], one["changes"]) for one in seen["drift"]] == [
        ("a", "Deployment/web", [change])
    ]
    with core.database.read() as session:
        told = list(session.scalars(select(Event).where(Event.action == "resource.drift_found")))
    assert [(one.resource_id, one.status) for one in told] == [(shop.targets["development"], "warning")]
