# SPDX-License-Identifier: Apache-2.0
"""An application with one of everything in it, and for each operation a request that it should take."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import Flask
from sqlalchemy import select, update

from controlplane.api.app import create_app
from controlplane.ports.probe import HostKey, SshAccess
from controlplane.services import environments, previews, releases, tasks
from controlplane.services.tasks import AT_WORK
from controlplane.store.tables import Host, InstallTask, Job, Release
from tests.api.people import Caller, People
from tests.services import (
    installation,
    test_cert_rotations,
    test_installs,
    test_network_entries,
    test_node_removal,
)
from tests.services.installation import HOST_KEY, Installation
from tests.services.test_network_entries import SUBJECT, Entries
from tests.services.test_releases import applied, previewed
from tests.unit.adapters.test_artifacts import docker_files, tar_of

FINGERPRINT = "SHA256:" + "k" * 43
ARCHIVE = tar_of(docker_files())
PLAIN = "services:\n  web:\n    image: shop:1\n    environment: {GREETING: '{{ greeting }}'}\n"


class Reached:
    """Every host answers, and shows the same key."""

    def host_key(self, access: SshAccess, timeout: float = 10.0) -> HostKey:
        return HostKey(HOST_KEY, FINGERPRINT)

    def check(self, access: SshAccess, timeout: float = 10.0) -> None:
        """It lets in."""


@dataclass
class Seeded:
    """`ids` has values for path parameters by name; `good` a request by operation: path values, query and body."""

    app: Flask
    admin: Caller
    ids: Mapping[str, Sequence[str]]
    good: Mapping[str, tuple[Mapping[str, str], Mapping[str, Any], Any]]
    shop: Installation

    def settle(self) -> None:
        """End the tasks that were asked for, so that the next one is not refused for them."""
        with self.shop.core.database.write() as session:
            at_work = InstallTask.status.in_(AT_WORK)
            session.execute(update(InstallTask).where(at_work).values(state="failed", status="failed"))
            session.execute(update(Job).where(Job.state == "queued").values(state="done", outcome="failed"))


def seed(folder: Path) -> Seeded:
    """Make it, on SQLite, with its data in `folder`."""
    made = installation.make(f"sqlite:///{folder}/tidegate.db", folder)
    shop = dataclasses.replace(made, core=dataclasses.replace(made.core, probe=Reached()))
    app = create_app(shop.core)
    people = People(shop.core, app)
    admin = people.add("admin", "admin")
    ids = {
        **_plain(admin, people),
        **_releases(shop),
        **_entries(shop),
        **_installs(shop),
        **_rotations(shop),
    }
    with shop.core.database.read() as session:
        every = {
            "release_id": list(session.scalars(select(Release.id))),
            "job_id": list(session.scalars(select(Job.id).where(Job.outcome == "succeeded"))),
            "host_id": list(session.scalars(select(Host.id))),
            "task_id": list(session.scalars(select(InstallTask.id))),
        }
    pools = {name: [value] for name, value in ids.items() if name.endswith("_id")}
    pools |= {"version": ["1", "2", "3", "spare"], "named": [ids["artifact"]], **every}
    return Seeded(app, admin, pools, _good(ids, every["job_id"][0]), shop)


def _plain(admin: Caller, people: People) -> dict[str, str]:
    def made(path: str, body: dict[str, Any]) -> str:
        answer = admin.post(path, body)
        assert answer.status_code == 201, answer.text
        return str(answer.get_json()["id"])

    artifact = admin.send(
        "POST", "/artifacts", query_string={"project_id": "prj"}, data=ARCHIVE,
        content_type="application/octet-stream",
    )  # fmt: skip
    assert admin.patch("/environments/env_staging", {"host_ids": ["hst"]}).status_code == 200
    user = people.add("somebody", "viewer")
    bound = {"subject_type": "user", "subject_id": user.id, "role": "viewer", "scope_type": "global"}
    service = made("/services", {"project_id": "prj", "name": "greeter"})
    schema = {"greeting": {"type": "string", "default": "hello"}}
    for number in ("1", "spare"):
        body = {"version": number, "template": PLAIN, "variable_schema": schema}
        made(f"/services/{service}/versions", body)
    value = {"scope_type": "environment", "scope_id": "env_staging", "name": "greeting", "value": "hi"}
    assert admin.send("PUT", f"/services/{service}/variables", json=value).status_code == 200
    host = {"project_id": "prj", "address": "192.0.2.9", "user": "a", "password": "b"}
    shown = made("/hosts", {**host, "name": "shown"})
    assert admin.post(f"/hosts/{shown}/host-key/fetch").status_code == 200
    return {
        "shown_host": shown,
        "artifact": artifact.get_json()["digest"],
        "team_id": made("/teams", {"name": "payments"}),
        "user_id": user.id,
        "token_id": user.token_id,
        "binding_id": made("/bindings", {**bound, "role": "auditor"}),
        "registry_id": made(
            "/registries",
            {"project_id": "prj", "server": "registry.example", "username": "a", "password": "b"},
        ),
        "project_id": "prj",
        "spare_project": made("/projects", {"name": "spare"}),
        "service_id": service,
        "environment_id": "env_staging",
        "spare_environment": made(
            "/environments", {"project_id": "prj", "name": "spare", "stage": "development", "host_ids": []}
        ),
        "target_id": "tgt_development",
        "spare_target": made(
            "/deploy/targets",
            {"project_id": "prj", "name": "spare", "environment_id": "env_staging", "host_ids": ["hst"]},
        ),
        "spare_host": made("/hosts", {**host, "name": "spare"}),
    }


def _releases(shop: Installation) -> dict[str, str]:
    def waiting() -> dict[str, Any]:
        ref = previewed(shop, "production")["preview_ref"]
        return releases.apply(shop.core, shop.releaser, ref, {})

    found = {"first": applied(shop)["release_id"], "last": applied(shop, version="2")["release_id"]}
    undone = _rollback_preview(shop, found["last"])
    found |= {"rollback_ref": undone["preview_ref"]}
    for name in ("inbox_yes", "inbox_no", "yes", "no", "cancelled"):
        release = waiting()
        found |= {name: release["release_id"], f"{name}_ticket": release["approval_ticket"]}
    found["ticket_id"] = waiting()["approval_ticket"]
    for name in ("promoted", "aborted"):
        release = previewed(shop)
        releases.apply(shop.core, shop.releaser, release["preview_ref"], {})
        found[name] = release["release_id"]
        with shop.core.database.write() as session:
            row = session.get_one(Release, release["release_id"])
            row.state, row.status, row.started_at = "applying", "paused", shop.clock.now()
            job = session.scalars(select(Job).where(Job.resource_id == row.id, Job.kind == "apply")).one()
            # It holds its hosts only in name, so that what follows can be worked on.
            job.state, job.resources = "paused", []
    found["ref"] = previewed(shop, version="3")["preview_ref"]
    return found


def _rollback_preview(shop: Installation, release_id: str) -> dict[str, Any]:

    asked = previews.request_rollback(shop.core, shop.releaser, release_id)
    shop.work_preview()
    return previews.wait(shop.core, shop.releaser, asked["release_id"], 0)


def _entries(shop: Installation) -> dict[str, str]:
    test_network_entries.add_cluster(shop, "development")
    entries = Entries(shop)
    entries.applied()
    test = entries.preview(kind="failover_test")
    back = entries.preview(kind="rollback", remove=True)
    retried = entries.preview()
    entries.start(retried)
    _kind, _run = entries.work("network_entry")
    _kind.refuse("worker_lost", "it was lost")
    queued = entries.preview()
    ref = entries.preview()["preview_ref"]
    listed = tasks.list_(
        shop.core, test_network_entries.operator(shop), SUBJECT, "cls", {}, test_network_entries.PageRequest()
    )
    return {
        "cluster_id": "cls", "entry_ref": ref, "entry_test_ref": test["preview_ref"],
        "entry_back_ref": back["preview_ref"], "entry_task": listed["items"][-1]["task_id"],
        "entry_failed": retried["task_id"], "entry_waiting": queued["task_id"],
    }  # fmt: skip


def _installs(shop: Installation) -> dict[str, str]:
    env = test_installs.environment(shop)
    done = test_installs.applied(shop, env)
    back = test_installs.previewed(shop, env, kind="rollback")
    failed = test_installs.previewed(shop, env)
    test_installs.installs.apply(shop.core, test_installs.operator(shop), env, failed["preview_ref"])
    kind, _run = test_installs.work(shop, "install")
    kind.refuse("worker_lost", "it was lost")
    waiting = test_installs.previewed(shop, env)
    ref = test_installs.previewed(shop, env)["preview_ref"]
    made = test_node_removal.cluster(shop, "development")
    removal = test_node_removal.removal(shop, made, "b")
    return {
        "of_cluster": made, "install_removal_ref": removal["preview_ref"],
        "installed": env, "install_ref": ref, "install_back_ref": back["preview_ref"],
        "install_task": done["task_id"], "install_failed": failed["task_id"], "install_waiting": waiting["task_id"],
    }  # fmt: skip


def _rotations(shop: Installation) -> dict[str, str]:
    actor = test_installs.operator(shop)
    body = {"project_id": "prj", "name": "clustered", "stage": "development", "mode": "platform_managed"}
    env = environments.create(shop.core, actor, {**body, "runtime_type": "k8s"})
    environments.set_nodes(shop.core, actor, env["id"], [{"host_id": "hst_cp-a", "role": "control_plane"}])
    rotations = test_cert_rotations.around(shop, env["id"], cluster="cls_made", hosts=("cp-a",))
    done = rotations.applied()
    failed = rotations.preview()
    rotations.start(failed)
    kind, _run = rotations.work("cert_rotation")
    kind.refuse("worker_lost", "it was lost")
    shop.clock.pass_(seconds=1)
    waiting, ref = rotations.preview(), rotations.preview()["preview_ref"]
    return {
        "rotation_ref": ref, "rotation_task": done["task_id"], "rotation_failed": failed["task_id"],
        "rotation_waiting": waiting["task_id"],
    }  # fmt: skip


def _good(ids: Mapping[str, str], job: str) -> dict[str, tuple[dict[str, str], dict[str, Any], Any]]:
    """Requests, for what the document's examples and the first of each pool are not enough."""
    entry, install = "/clusters/{cluster_id}/network-entry", "/environments/{environment_id}/install"
    release, inbox = "/deploy/releases/{release_id}", "/approvals/inbox/{ticket_id}"
    at, installed = {"cluster_id": "cls"}, {"environment_id": ids["installed"]}
    rotation, rotated = "/clusters/{cluster_id}/certs/rotate", {"cluster_id": "cls_made"}
    said = {"comment": "because"}
    scope = {"scope_type": "environment", "scope_id": "env_staging", "name": "greeting"}
    body: dict[str, Any] = {
        "POST /bindings": {"subject_type": "user", "subject_id": ids["user_id"], "role": "viewer",
                           "scope_type": "project", "scope_id": "prj"},
        "POST /clusters": {"project_id": "prj", "name": "made", "stage": "development",
                           "nodes": [{"host_id": "hst", "role": "control_plane"}]},
        "POST /deploy/releases/apply": {"preview_ref": ids["ref"]},
        "POST /deploy/releases/preview": {"target_id": "tgt_development", "service": "shop", "version": "2"},
        "POST /deploy/targets": {"project_id": "prj", "name": "new", "environment_id": "env_staging",
                                 "host_ids": ["hst"]},
        "POST /environments": {"project_id": "prj", "name": "new", "stage": "development"},
        "PATCH /environments/{environment_id}": {"name": "renamed"},
        "PUT /environments/{environment_id}/nodes": [{"host_id": "hst", "role": "compose_worker"}],
        "POST /hosts": {"project_id": "prj", "name": "new", "address": "192.0.2.8", "user": "a", "password": "b"},
        "PATCH /hosts/{host_id}": {"user": "somebody"},
        "POST /projects": {"name": "new", "description": "x"},
        "PATCH /projects/{project_id}": {"description": "y"},
        "POST /registries": {"project_id": "prj", "server": "other.example", "username": "a", "password": "b"},
        "PATCH /registries/{registry_id}": {"username": "c"},
        "POST /services": {"project_id": "prj", "name": "new"},
        "PATCH /services/{service_id}": {"name": "renamed"},
        "PUT /services/{service_id}/variables": {**scope, "value": "good morning"},
        "POST /services/{service_id}/versions": {"version": "9", "template": PLAIN,
                                                 "variable_schema": {"greeting": {"type": "string"}}},
        "POST /teams": {"name": "new"}, "PATCH /teams/{team_id}": {"name": "renamed"},
        "POST /tokens": {"name": "pipeline"}, "POST /users": {"name": "new"},
        "PATCH /users/{user_id}": {"display_name": "x"},
    }  # fmt: skip
    good: dict[str, tuple[dict[str, str], dict[str, Any], Any]] = {
        name: ({}, {}, value) for name, value in body.items()
    }
    good |= {
        f"POST {inbox}/approve": ({"ticket_id": ids["inbox_yes_ticket"]}, {}, said),
        f"POST {inbox}/reject": ({"ticket_id": ids["inbox_no_ticket"]}, {}, said),
        f"POST {inbox}/assign": ({"ticket_id": ids["ticket_id"]}, {}, {"user_id": "admin"}),
        f"POST {release}/approve": ({"release_id": ids["yes"]}, {}, said),
        f"POST {release}/reject": ({"release_id": ids["no"]}, {}, said),
        f"POST {release}/cancel": ({"release_id": ids["cancelled"]}, {}, None),
        f"POST {release}/promote": ({"release_id": ids["promoted"]}, {}, None),
        f"POST {release}/abort": ({"release_id": ids["aborted"]}, {}, None),
        f"POST {release}/rollback": ({"release_id": ids["last"]}, {}, {"preview_ref": ids["rollback_ref"]}),
        f"POST {release}/rollback/preview": ({"release_id": ids["last"]}, {}, {}),
        "DELETE /services/{service_id}/variables": ({}, scope, None),
        "DELETE /services/{service_id}/versions/{version}": ({"version": "spare"}, {}, None),
        "GET /services/{service_id}/versions/{version}": ({"version": "1"}, {}, None),
        "DELETE /projects/{project_id}": ({"project_id": ids["spare_project"]}, {}, None),
        "DELETE /environments/{environment_id}": ({"environment_id": ids["spare_environment"]}, {}, None),
        "DELETE /deploy/targets/{target_id}": ({"target_id": ids["spare_target"]}, {}, None),
        "DELETE /hosts/{host_id}": ({"host_id": ids["spare_host"]}, {}, None),
        "POST /hosts/{host_id}/host-key/confirm": (
            {"host_id": ids["shown_host"]},
            {},
            {"fingerprint": FINGERPRINT},
        ),
        "POST /hosts/{host_id}/host-key/fetch": ({"host_id": ids["shown_host"]}, {}, None),
        "POST /hosts/{host_id}/check": ({"host_id": "hst"}, {}, None),
        "PATCH /deploy/targets/{target_id}": ({"target_id": ids["spare_target"]}, {}, {"name": "renamed"}),
        "POST /artifacts": ({}, {"project_id": "prj"}, ARCHIVE),
        "GET /jobs/{job_id}/logs": ({"job_id": job}, {}, None),
        "POST /environments/{environment_id}/health/check": (installed, {}, None),
        f"POST {install}/preview": (installed, {}, {}),
        f"POST {install}/apply": (installed, {}, {"preview_ref": ids["install_ref"]}),
        f"POST {install}/rollback": (installed, {}, {"preview_ref": ids["install_back_ref"]}),
        f"POST {install}/removal": (
            {"environment_id": ids["of_cluster"]},
            {},
            {"preview_ref": ids["install_removal_ref"]},
        ),
        f"POST {entry}/preview": (at, {}, {"kind": "apply", "lvs_vip": test_network_entries.LVS_VIP}),
        f"POST {entry}/apply": (at, {}, {"preview_ref": ids["entry_ref"]}),
        f"POST {entry}/rollback": (at, {}, {"preview_ref": ids["entry_back_ref"]}),
        f"POST {entry}/failover-test": (at, {}, {"preview_ref": ids["entry_test_ref"]}),
    }
    good |= {
        "GET /clusters/{cluster_id}/certs": (rotated, {}, None),
        "POST /clusters/{cluster_id}/certs/check": (rotated, {}, None),
        f"POST {rotation}/preview": (rotated, {}, {"within_days": 90}),
        f"POST {rotation}/apply": (rotated, {}, {"preview_ref": ids["rotation_ref"]}),
    }
    own_tasks = ((entry, at, "entry"), (install, installed, "install"), (rotation, rotated, "rotation"))
    for path, owner, kind in own_tasks:
        done = {**owner, "task_id": ids[f"{kind}_task"]}
        for part in ("", "/logs", "/timeline"):
            good[f"GET {path}/tasks/{{task_id}}{part}"] = (done, {}, None)
        good[f"POST {path}/tasks/{{task_id}}/retry"] = ({**owner, "task_id": ids[f"{kind}_failed"]}, {}, None)
        good[f"POST {path}/tasks/{{task_id}}/cancel"] = (
            {**owner, "task_id": ids[f"{kind}_waiting"]},
            {},
            None,
        )
    return good
