# SPDX-License-Identifier: Apache-2.0
"""An installation without a server: real database, vault, archive store; a clock that the test sets; and the
answers that a playbook would give, handed to the jobs as the runner's port hands them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select

from controlplane.adapters.artifacts.folder import FolderArtifacts
from controlplane.adapters.cluster_probe import HttpsClusterProbe
from controlplane.adapters.queue.embedded import EmbeddedQueue
from controlplane.adapters.vault import FernetVault, init_keys
from controlplane.domain.errors import Problem
from controlplane.domain.permission import Actor, Grant
from controlplane.ports.probe import HostKey, SshAccess
from controlplane.ports.runner import PlaybookRun, RunEvent, RunOutcome
from controlplane.services import jobs
from controlplane.services.core import Core
from controlplane.services.job_kinds import KINDS
from controlplane.services.jobs import Lease
from controlplane.settings import load
from controlplane.store import tables
from controlplane.store.session import Database, open_engine

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIN1q0000000000000000000000000000000000000000"
TEMPLATE = "services:\n  web:\n    image: shop:1\n"


class SetClock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def pass_(self, **span: float) -> None:
        self.time += timedelta(**span)


class DeafProbe:
    """Every host is out of reach, as for a machine without a network."""

    def host_key(self, access: SshAccess, timeout: float = 10.0) -> HostKey:
        raise Problem("ssh_unreachable", f"{access.address} does not answer")

    def check(self, access: SshAccess, timeout: float = 10.0) -> None:
        raise Problem("ssh_unreachable", f"{access.address} does not answer")


@dataclass
class Installation:
    """A core with a project that has a host, a service with versions 1 to 3, and a target for each stage."""

    core: Core
    clock: SetClock
    targets: dict[str, str] = field(default_factory=dict)
    live: str = "sha256:" + "0" * 64

    def actor(self, name: str, role: str, project: str = "prj") -> Actor:
        """Return somebody with a role in the project."""
        return Actor(
            id=f"usr_{name}", name=name, grants=(Grant(role, "project", project),), request_id="req-test"
        )

    @property
    def releaser(self) -> Actor:
        return self.actor("releaser", "releaser")

    @property
    def approver(self) -> Actor:
        return self.actor("approver", "approver")

    def claim(self) -> Lease | None:
        """Take the next job as a worker does."""
        return jobs.claim(self.core, "worker-of-the-test")

    def preview_outcome(self, run: PlaybookRun, **changed: Any) -> RunOutcome:
        """What the preview playbook answers about hosts whose state is `live`."""
        spec = run.documents["release_spec_file"]
        document = {
            "schema": "tidegate.preview/v1",
            "host": "a",
            "rendered": spec.get("rendered") or spec.get("compose") or spec["manifests"],
            "shown": "{}",
            "images": [{"service": "web", "reference": "shop:1", "digest": None, "image_id": "sha256:1"}],
            "services": [{"name": "web", "action": "change", "changes": []}],
            "checks": [],
            "risk_facts": [],
            "fingerprint": self.live,
            "fingerprint_parts": {"web.image": self.live},
            **changed,
        }
        return RunOutcome("successful", 0, {f"{host.name}.preview": document for host in run.hosts})

    def work_preview(self, **changed: Any) -> Lease | None:
        """Take the next job, which must be a preview, to its end."""
        lease = self.claim()
        if lease is None:
            return None
        assert lease.kind == "preview"
        kind = KINDS[lease.kind](self.core, lease)
        run = kind.begin()
        if run is not None:
            assert kind.end(self.preview_outcome(run, **changed)) is None
        return lease

    def work_apply(self, status: str = "successful", data: dict[str, Any] | None = None) -> Lease | None:
        """Take the next job, which must be an apply, to its end."""
        lease = self.claim()
        if lease is None:
            return None
        assert lease.kind == "apply"
        kind = KINDS[lease.kind](self.core, lease)
        run = kind.begin()
        if run is None:
            return lease
        told = data or {"changed": True, "steps": [{"step": "project_up", "status": "succeeded"}]}
        failed = status != "successful"
        kind.record([an_event(1, data=told, failed=failed, changed=told.get("changed", False))])
        live = {"release_id": lease.resource_id, "services": [{"name": "web", "running": 1}]}
        results = {} if failed else {"a.apply": {"live": live}}
        following = kind.end(RunOutcome(status, 1 if failed else 0, results))
        if following is not None:
            assert following.playbook == "release_cancel.yml"
            kind.end(RunOutcome("successful", 0, {"a.cancel": {"ended": True}}))
        self.leave_looks()
        return lease

    def looks(self) -> list[str]:
        """Return the jobs that are to look at a target, oldest first."""
        query = select(tables.Job.id).where(tables.Job.kind == "target_status", tables.Job.state == "queued")
        with self.core.database.read() as session:
            return list(session.scalars(query.order_by(tables.Job.created_at)))

    def leave_looks(self) -> None:
        """End the looks at targets that are queued, as where no host answers."""
        for job_id in self.looks():
            with self.core.database.write() as session:
                jobs.finish(session.get_one(tables.Job, job_id), self.clock.now(), "failed")


def an_event(counter: int, *, data: dict[str, Any], failed: bool = False, changed: bool = False) -> RunEvent:
    """A result of the release module on host `a`."""
    return RunEvent(
        counter=counter,
        kind="runner_on_failed" if failed else "runner_on_ok",
        at="2026-01-01T12:00:00Z",
        host="a",
        action="tidegate.deploy.compose_release",
        play="Apply a release",
        task_id="1",
        changed=changed,
        failed=failed,
        ignored=False,
        unreachable=False,
        duration=0.1,
        stdout="ok: [a]",
        data=data,
    )


def move_into_cluster(shop: Installation) -> None:
    """Let the service and its targets be of a Kubernetes cluster, which is called as the host was: `a`."""
    core = shop.core
    with core.database.write() as session:
        session.add(
            tables.Cluster(
                id="cls", project_id="prj", name="a", endpoint="https://192.0.2.10:6443", credential_kind="token",
                kubeconfig_cipher=core.vault.encrypt(b'{"clusters": []}'), created_by="usr",
                created_at=shop.clock.now(),
            )
        )  # fmt: skip
        session.flush()
        session.get_one(tables.Service, "svc").runtime_type = "k8s"
        for target_id in shop.targets.values():
            target = session.get_one(tables.Target, target_id)
            target.runtime_type, target.cluster_id, target.namespace = "k8s", "cls", target.name


def make(url: str, folder: Path, has_tables: bool = False) -> Installation:
    """Make an installation in a database of the test's own, which has nothing in it, or the tables alone."""
    init_keys(folder / "keys")
    clock = SetClock()
    database = Database(open_engine(url))
    if not has_tables:
        tables.Base.metadata.create_all(database.engine)
    settings = load({"TIDEGATE_HOME": str(folder), "TIDEGATE_DATABASE_URL": url}, None)
    core = Core(
        settings=settings,
        database=database,
        clock=clock,
        vault=FernetVault(folder / "keys"),
        queue=EmbeddedQueue(folder / "wake"),
        artifacts=FolderArtifacts(folder / "artifacts"),
        probe=DeafProbe(),
        cluster_probe=HttpsClusterProbe(),
    )
    made = Installation(core, clock)
    _fill(made)
    return made


def _fill(made: Installation) -> None:
    core, now = made.core, made.clock.now()
    with core.database.write() as session:
        session.add(tables.Project(id="prj", name="shop", created_at=now, policy=[]))
        session.flush()
        for name in ("releaser", "approver", "second-approver"):
            session.add(tables.User(id=f"usr_{name}", name=name, created_at=now))
        session.add(
            tables.Host(
                id="hst", project_id="prj", name="a", address="192.0.2.1", user="root", created_at=now,
                host_key=HOST_KEY, host_key_status="pinned", private_key_cipher=core.vault.encrypt(b"key"),
            )
        )  # fmt: skip
        session.add(
            tables.Service(id="svc", project_id="prj", name="shop", runtime_type="compose", created_at=now)
        )
        session.flush()
        for number in (1, 2, 3):
            session.add(
                tables.ServiceVersion(
                    id=f"ver{number}", service_id="svc", version=str(number), number=number, template=TEMPLATE,
                    digest=f"sha256:{number}", created_by="usr", created_at=now,
                )
            )  # fmt: skip
        for stage in ("development", "staging", "production"):
            session.add(
                tables.Environment(
                    id=f"env_{stage}",
                    project_id="prj",
                    name=stage,
                    stage=stage,
                    runtime_type="compose",
                    created_at=now,
                )
            )
            session.flush()
            session.add(
                tables.Target(
                    id=f"tgt_{stage}", project_id="prj", name=stage, environment_id=f"env_{stage}",
                    runtime_type="compose", host_ids=["hst"], created_at=now,
                )
            )  # fmt: skip
            made.targets[stage] = f"tgt_{stage}"
