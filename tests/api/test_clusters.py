# SPDX-License-Identifier: Apache-2.0
"""Clusters against a real API server: brought in, tested, changed, bound to targets, and never told whole."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect, select, text

from controlplane.api.app import create_app
from controlplane.domain import cluster as rules
from controlplane.domain.cluster import Ability, Connection
from controlplane.services import cluster_connection
from controlplane.services.core import Core
from controlplane.store.tables import Cluster, Event
from tests.api.installations import installed
from tests.api.people import Caller, People
from tests.api.server import served
from tests.lab import kube_credentials
from tests.lab.kube import KubeApi
from tests.lab.kube_certificates import Authority

pytestmark = [pytest.mark.kubernetes, pytest.mark.xdist_group("kube_api")]
COMMAND = str(Path(sys.executable).parent / "tidegate")


def rbac(abilities: Iterable[Ability]) -> list[dict[str, Any]]:
    """Return the RBAC rules that allow exactly these."""
    return [
        {
            "apiGroups": [one.group],
            "resources": [f"{one.resource}/{one.subresource}" if one.subresource else one.resource],
            "verbs": [one.verb],
        }
        for one in abilities
    ]


ENOUGH = rbac(rules.NEEDED)
TOO_LITTLE = rbac(
    one for one in rules.NEEDED if str(one) not in ("delete secrets", "create deployments.apps")
)


@pytest.fixture
def core(tmp_path: Path) -> Iterator[Core]:
    """An installation that lets endpoints lead to loopback, where the API server is."""
    with installed(tmp_path / "home", CLUSTER_ADDRESS_ALLOW="127.0.0.0/8") as core:
        yield core


@pytest.fixture
def shop(people: People) -> str:
    """A project."""
    return people.project("shop")


@pytest.fixture
def deployer(kube_api: KubeApi, kube_namespace: str) -> Path:
    """The kubeconfig of a service account that may do exactly what a release needs in the namespace."""
    return kube_api.kubeconfig_for("deployer", kube_namespace, ENOUGH)


@pytest.fixture
def limited(kube_api: KubeApi, kube_namespace: str) -> Path:
    """The kubeconfig of one that may not delete secrets and create deployments."""
    return kube_api.kubeconfig_for("limited", kube_namespace, TOO_LITTLE)


def bring_in(caller: Caller, project: str, kubeconfig: Path | str, name: str = "blue", **other: Any) -> Any:
    """Import a kubeconfig."""
    content = kubeconfig.read_text() if isinstance(kubeconfig, Path) else kubeconfig
    body = {"project_id": project, "name": name, "kubeconfig": content, **other}
    return caller.post("/clusters/import/kubeconfig", body)


def add(caller: Caller, project: str, api: KubeApi, **parts: Any) -> Any:
    """Import by parts."""
    body = {"project_id": project, "name": "blue", "endpoint": api.endpoint, "ca": api.ca, **parts}
    return caller.post(
        "/clusters/import/cert", {key: value for key, value in body.items() if value is not None}
    )


def environment(caller: Caller, project: str, runtime: str = "k8s") -> str:
    """Make an environment."""
    body = {"project_id": project, "name": f"staging-{runtime}", "stage": "staging", "runtime_type": runtime}
    return str(caller.post("/environments", body).json["id"])


def bind(caller: Caller, project: str, environment_id: str, name: str = "shop-staging", **other: Any) -> Any:
    """Ask for a target."""
    body = {"project_id": project, "name": name, "environment_id": environment_id, **other}
    return caller.post("/deploy/targets", body)


def connect(caller: Caller, cluster_id: str, **body: Any) -> Any:
    """Ask for another connection."""
    return caller.send("PUT", f"/clusters/{cluster_id}/connection", json=body)


def told(core: Core, action: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Return resource id, status and detail of the events of an action."""
    with core.database.read() as session:
        rows = session.scalars(select(Event).where(Event.action == action).order_by(Event.seq))
        return [(row.resource_id, row.status, row.detail) for row in rows]


def whole_database(core: Core) -> str:
    """Return everything in it, as text."""
    with core.database.read() as session:
        names = inspect(core.database.engine).get_table_names()
        rows = [str(tuple(row)) for name in names for row in session.execute(text(f'SELECT * FROM "{name}"'))]
    return "\n".join(rows)


def test_a_cluster_is_brought_in_tested_and_bound(
    core: Core, admin: Caller, shop: str, kube_api: KubeApi, kube_namespace: str
) -> None:
    made = bring_in(admin, shop, kube_api.kubeconfig)
    assert made.status_code == 201, made.json
    cluster = made.json
    assert cluster["endpoint"] == kube_api.endpoint
    assert cluster["server_version"].startswith("v1.")
    assert (cluster["credential_kind"], cluster["status"], cluster["warning"]) == (
        "certificate",
        "ready",
        None,
    )
    assert cluster["credential_expires_at"] > datetime.now(UTC).isoformat()
    assert cluster["last_check"]["lacking"] == []
    assert [event[0] for event in told(core, "cluster.created") + told(core, "cluster.import_succeeded")] == [
        cluster["id"]
    ] * 2

    tested = admin.post(f"/clusters/{cluster['id']}/connect/test", {"namespace": kube_namespace})
    assert tested.status_code == 200, tested.json
    assert tested.json["reachable"] is True
    assert 0 < tested.json["latency_ms"] < 5000
    assert tested.json["certificate_expires_at"] > datetime.now(UTC).isoformat()
    assert tested.json["namespace"] == kube_namespace
    assert "create deployments.apps" in tested.json["allowed"]
    assert told(core, "cluster.connection_test_succeeded")[0][0] == cluster["id"]
    assert admin.post(f"/clusters/{cluster['id']}/connect/test").json["namespace"] == "default"

    target = bind(admin, shop, environment(admin, shop), cluster_id="blue", namespace=kube_namespace)
    assert target.status_code == 201, target.json
    assert (target.json["cluster_id"], target.json["namespace"], target.json["cluster_scoped"]) == (
        cluster["id"], kube_namespace, False
    )  # fmt: skip
    assert target.json["cluster_access"]["ok"] is True
    assert (target.json["host_ids"], target.json["runtime_type"]) == ([], "k8s")
    refused = admin.delete(f"/clusters/{cluster['id']}")
    assert (refused.status_code, refused.json["error_key"]) == (409, "resource_in_use")
    assert "shop-staging" in refused.json["detail"]
    assert admin.delete(f"/deploy/targets/{target.json['id']}").status_code == 204
    assert admin.delete(f"/clusters/{cluster['id']}").status_code == 204
    gone = admin.get(f"/clusters/{cluster['id']}")
    assert (gone.status_code, gone.json["error_key"]) == (404, "cluster_not_found")


@pytest.mark.parametrize("form", ["kubeconfig", "parts"])
@pytest.mark.parametrize("kind", ["token", "certificate"])
def test_no_secret_is_in_any_answer_event_or_row(
    core: Core, admin: Caller, shop: str, kube_api: KubeApi, kube_namespace: str, form: str, kind: Any
) -> None:
    file = kube_api.kubeconfig_for("deployer", kube_namespace, ENOUGH, kind=kind)
    token = kube_credentials.token_of(file.read_text())
    pair = kube_credentials.certificate_of(file.read_text())
    if form == "kubeconfig":
        sent: dict[str, Any] = {"kubeconfig": file.read_text()}
        made = bring_in(admin, shop, file)
    else:
        sent = {"endpoint": kube_api.endpoint, "ca": kube_api.ca}
        sent |= (
            {"token": token} if token else {"client_certificate": pair.certificate, "client_key": pair.key}
        )  # type: ignore[union-attr]
        made = add(admin, shop, kube_api, **sent)
    assert made.status_code == 201, made.json
    path = f"/clusters/{made.json['id']}"
    target = bind(admin, shop, environment(admin, shop), cluster_id=made.json["id"], namespace=kube_namespace)
    broken = {**sent, "endpoint": "https://127.0.0.1:1"} if form == "parts" else {**sent, "context": "none"}
    answers = [
        made, target, admin.post(f"{path}/connect/test", {"namespace": kube_namespace}), admin.get(path),
        connect(admin, made.json["id"], **sent), connect(admin, made.json["id"], **broken),
        admin.get("/clusters"), admin.get("/deploy/targets"), admin.get("/events"),
        admin.post(f"/clusters/import/{'kubeconfig' if form == 'kubeconfig' else 'cert'}",
                   {"project_id": shop, "name": "again", **broken}, {"Idempotency-Key": "once"}),
    ]  # fmt: skip
    assert [answer.status_code for answer in answers[:5]] == [201, 201, 200, 200, 200]
    with core.database.read() as session:
        kept = cluster_connection.opened(core, session.get_one(Cluster, made.json["id"]))
    # The key is written anew before it is kept: neither form may be seen.
    lines = [line for key in (pair.key if pair else "", kept.key or "") for line in key.splitlines()[1:-1]]
    secrets = [token, *lines] if token else lines
    secrets += [base64.b64encode(word.encode()).decode()[4:40] for word in secrets]
    assert len(secrets) >= 2
    everything = "\n".join([*(answer.text for answer in answers), whole_database(core)])
    for secret in secrets:
        assert secret not in everything
    assert kept.token == (token or None)
    assert bool(kept.key) == (kind == "certificate")


def test_a_credential_that_cannot_release_is_refused_when_the_target_is_made(
    core: Core, admin: Caller, shop: str, limited: Path, kube_api: KubeApi, kube_namespace: str
) -> None:
    cluster = bring_in(admin, shop, limited)
    assert cluster.status_code == 201, cluster.json
    assert cluster.json["last_check"]["lacking"] == ["delete secrets", "create deployments.apps"]
    environment_id = environment(admin, shop)
    refused = bind(admin, shop, environment_id, cluster_id="blue", namespace=kube_namespace)
    assert (refused.status_code, refused.json["error_key"]) == (422, "cluster_permission_insufficient")
    assert "delete secrets, create deployments.apps" in refused.json["detail"]
    assert refused.json["errors"] == {
        "namespace": ["may not delete secrets", "may not create deployments.apps"]
    }
    assert refused.json["lacking"] == ["delete secrets", "create deployments.apps"]
    assert admin.get("/deploy/targets").json["items"] == []
    elsewhere = bind(admin, shop, environment_id, cluster_id="blue", namespace="default")
    assert elsewhere.json["error_key"] == "cluster_permission_insufficient"

    kube_api.kubeconfig_for("limited", kube_namespace, ENOUGH)
    made = bind(admin, shop, environment_id, cluster_id="blue", namespace=kube_namespace)
    assert made.status_code == 201, made.json
    moved = admin.patch(f"/deploy/targets/{made.json['id']}", {"namespace": "default"})
    assert moved.json["error_key"] == "cluster_permission_insufficient"
    assert admin.get(f"/deploy/targets/{made.json['id']}").json["namespace"] == kube_namespace
    renamed = admin.patch(f"/deploy/targets/{made.json['id']}", {"name": "other"})
    assert (renamed.status_code, renamed.json["namespace"]) == (200, kube_namespace)


def test_a_namespace_has_to_be_there_unless_the_target_may_make_it(
    admin: Caller, shop: str, kube_api: KubeApi, deployer: Path
) -> None:
    bring_in(admin, shop, kube_api.kubeconfig)
    environment_id = environment(admin, shop)
    refused = bind(admin, shop, environment_id, cluster_id="blue", namespace="not-there")
    assert (refused.status_code, refused.json["error_key"]) == (422, "namespace_missing")
    made = bind(admin, shop, environment_id, cluster_id="blue", namespace="not-there", cluster_scoped=True)
    assert made.status_code == 201, made.json
    assert made.json["cluster_access"]["namespace_exists"] is False
    # Who may do everything in namespaces, and nothing outside of them, cannot make one.
    inside = kube_api.kubeconfig_for("inside", "default", [], cluster_rules=ENOUGH)
    assert bring_in(admin, shop, inside, "green").status_code == 201
    for is_scoped, key in ((False, "namespace_missing"), (True, "cluster_permission_insufficient")):
        answer = bind(
            admin, shop, environment_id, "second", cluster_id="green", namespace="nor-this",
            cluster_scoped=is_scoped,
        )  # fmt: skip
        assert answer.json["error_key"] == key
    there = bind(admin, shop, environment_id, "second", cluster_id="green", namespace="kube-public")
    assert there.status_code == 201, there.json
    assert there.json["cluster_access"]["namespace_exists"] is True


def test_each_runtime_has_its_own_members(
    admin: Caller, people: People, shop: str, deployer: Path, kube_namespace: str
) -> None:
    cluster_id = bring_in(admin, shop, deployer).json["id"]
    kubernetes, compose = environment(admin, shop), environment(admin, shop, "compose")
    place = {"cluster_id": cluster_id, "namespace": kube_namespace}
    wrong = [
        (kubernetes, {}, {"cluster_id", "namespace"}), (kubernetes, {"cluster_id": cluster_id}, {"namespace"}),
        (kubernetes, {"namespace": "x"}, {"cluster_id"}), (kubernetes, {**place, "host_ids": ["hst_x"]}, {"host_ids"}),
        (kubernetes, {**place, "namespace": "Not_One"}, {"namespace"}),
        (compose, place, {"cluster_id", "namespace"}), (compose, {"cluster_scoped": True}, {"cluster_scoped"}),
    ]  # fmt: skip
    for environment_id, members, named in wrong:
        answer = bind(admin, shop, environment_id, **members)
        assert (answer.status_code, answer.json["error_key"]) == (422, "validation_error"), answer.json
        assert named <= set(answer.json["errors"]) | set(answer.json["errors"].get("json", {})), answer.json
    for word in ("cls_unknown", "unknown"):
        answer = bind(admin, shop, kubernetes, cluster_id=word, namespace="default")
        assert (answer.status_code, answer.json["error_key"]) == (404, "cluster_not_found")
    bank = people.project("bank")
    foreign = bind(admin, bank, environment(admin, bank), **place)
    assert (foreign.status_code, foreign.json["error_key"]) == (404, "cluster_not_found")
    target_id = bind(admin, shop, kubernetes, **place).json["id"]
    path = f"/deploy/targets/{target_id}"
    assert admin.patch(path, {"host_ids": ["hst_x"]}).json["errors"].keys() == {"host_ids"}
    assert admin.patch(path, {"host_ids": []}).status_code == 200


def test_a_target_for_what_is_outside_of_namespaces_needs_a_credential_for_that(
    admin: Caller, shop: str, deployer: Path, kube_api: KubeApi, kube_namespace: str
) -> None:
    cluster_id = bring_in(admin, shop, deployer, "inside").json["id"]
    place = {"cluster_id": cluster_id, "namespace": kube_namespace}
    target_id = bind(admin, shop, environment(admin, shop), **place).json["id"]
    refused = admin.patch(f"/deploy/targets/{target_id}", {"cluster_scoped": True})
    assert (refused.status_code, refused.json["error_key"]) == (422, "cluster_permission_insufficient")
    assert (
        "may not create customresourcedefinitions.apiextensions.k8s.io"
        in refused.json["errors"]["cluster_scoped"]
    )
    assert "create namespaces" in refused.json["lacking"]
    wide = kube_api.kubeconfig_for("wide", kube_namespace, ENOUGH, cluster_rules=rbac(rules.NEEDED_OUTSIDE))
    assert connect(admin, cluster_id, kubeconfig=wide.read_text()).status_code == 200
    scoped = admin.patch(f"/deploy/targets/{target_id}", {"cluster_scoped": True})
    assert (scoped.json["cluster_scoped"], scoped.json["namespace"]) == (True, kube_namespace), scoped.json


def test_another_connection_marks_the_targets_that_it_fails(
    core: Core, admin: Caller, shop: str, deployer: Path, limited: Path, kube_namespace: str
) -> None:
    cluster_id = bring_in(admin, shop, deployer).json["id"]
    environment_id = environment(admin, shop)
    target_id = bind(admin, shop, environment_id, cluster_id=cluster_id, namespace=kube_namespace).json["id"]
    before = admin.get(f"/clusters/{cluster_id}").json

    changed = connect(admin, cluster_id, kubeconfig=limited.read_text())
    assert changed.status_code == 200, changed.json
    assert [(one["id"], one["cluster_access"]["lacking"]) for one in changed.json["targets_failing"]] == [
        (target_id, ["delete secrets", "create deployments.apps"])
    ]
    assert changed.json["version"] == before["version"] + 1
    access = admin.get(f"/deploy/targets/{target_id}").json["cluster_access"]
    assert (access["ok"], access["error_key"]) == (False, "cluster_permission_insufficient")
    events = {event[0]: event for event in told(core, "resource.updated")}
    assert events[cluster_id][1:] == (
        "warning",
        {
            "name": "blue", "endpoint": before["endpoint"], "endpoint_before": before["endpoint"],
            "targets_failing": ["shop-staging"],
        },
    )  # fmt: skip
    assert events[target_id][1] == "warning"
    assert events[target_id][2]["cluster_access"]["lacking"] == ["delete secrets", "create deployments.apps"]

    mended = connect(admin, cluster_id, kubeconfig=deployer.read_text())
    assert (mended.status_code, mended.json["targets_failing"]) == (200, [])
    assert admin.get(f"/deploy/targets/{target_id}").json["cluster_access"]["ok"] is True


def test_a_connection_that_does_not_work_changes_nothing(
    core: Core, admin: Caller, shop: str, deployer: Path, kube_api: KubeApi
) -> None:
    cluster_id = bring_in(admin, shop, deployer).json["id"]
    before = admin.get(f"/clusters/{cluster_id}").json
    wrong: list[tuple[dict[str, Any], str]] = [
        ({}, "validation_error"),
        ({"kubeconfig": deployer.read_text(), "endpoint": kube_api.endpoint}, "validation_error"),
        ({"kubeconfig": deployer.read_text(), "token": "x"}, "validation_error"),
        ({"endpoint": kube_api.endpoint, "token": "x", "context": "lab"}, "validation_error"),
        ({"endpoint": kube_api.endpoint, "ca": kube_api.ca, "token": "unknown"}, "cluster_permission_insufficient"),
        ({"endpoint": kube_api.endpoint, "ca": Authority().pair.certificate, "token": "x"}, "certificate_invalid"),
        ({"endpoint": "https://127.0.0.1:1", "ca": kube_api.ca, "token": "x"}, "cluster_unreachable"),
    ]  # fmt: skip
    for body, key in wrong:
        assert connect(admin, cluster_id, **body).json["error_key"] == key
    assert admin.get(f"/clusters/{cluster_id}").json == before
    assert [status for _, status, _ in told(core, "cluster.connection_test_failed")] == ["failed"] * 7
    assert admin.post(f"/clusters/{cluster_id}/connect/test", {}).status_code == 200


def test_what_was_looked_at_over_another_connection_is_not_bound(
    core: Core, admin: Caller, people: People, shop: str, deployer: Path, limited: Path, kube_namespace: str
) -> None:
    cluster_id = bring_in(admin, shop, deployer).json["id"]
    environment_id = environment(admin, shop)

    class Overtaken:
        """The probe, whose first look at a namespace is overtaken by a change of the connection."""

        changes = 0

        def __getattr__(self, name: str) -> Any:
            return getattr(core.cluster_probe, name)

        def has_namespace(self, connection: Connection, namespace: str) -> bool:
            if not self.changes:
                self.changes += 1
                assert connect(admin, cluster_id, kubeconfig=limited.read_text()).status_code == 200
            return core.cluster_probe.has_namespace(connection, namespace)

    slow_core = replace(core, cluster_probe=Overtaken())  # type: ignore[arg-type]
    slow = People(slow_core, create_app(slow_core)).add("slow", "admin")
    place = {"cluster_id": cluster_id, "namespace": kube_namespace}
    refused = bind(slow, shop, environment_id, **place)
    assert (refused.status_code, refused.json["error_key"]) == (409, "conflict")
    again = bind(slow, shop, environment_id, **place)
    assert again.json["error_key"] == "cluster_permission_insufficient"
    assert admin.get("/deploy/targets").json["items"] == []


def test_a_credential_that_was_taken_away_is_found_by_the_test(
    core: Core, admin: Caller, shop: str, deployer: Path, kube_api: KubeApi, kube_namespace: str
) -> None:
    cluster_id = bring_in(admin, shop, deployer).json["id"]
    kube_api.kubectl(["delete", "serviceaccount", "deployer", "-n", kube_namespace])
    tested: Any = None
    for _ in range(100):
        # The server remembers a token that it has looked at for some seconds.
        tested = admin.post(f"/clusters/{cluster_id}/connect/test", {})
        if tested.status_code != 200:
            break
        time.sleep(0.3)
    assert (tested.status_code, tested.json["error_key"]) == (422, "cluster_permission_insufficient")
    cluster = admin.get(f"/clusters/{cluster_id}").json
    assert (cluster["status"], cluster["last_check"]["error_key"]) == (
        "failed",
        "cluster_permission_insufficient",
    )
    assert cluster["server_version"].startswith("v1.")
    assert told(core, "cluster.connection_test_failed")[-1][:2] == (cluster_id, "failed")
    assert [one["id"] for one in admin.get("/clusters", status="failed").json["items"]] == [cluster_id]


def test_what_cannot_be_connected_to_is_not_stored(
    core: Core, admin: Caller, shop: str, kube_api: KubeApi
) -> None:
    other = Authority()
    good = kube_api.authority.issue("someone", ["system:masters"])
    late = kube_api.authority.issue("late", ["system:masters"], valid=-timedelta(minutes=1))
    stranger = other.issue("stranger", ["system:masters"])
    pair = {"client_certificate": good.certificate, "client_key": good.key}
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"token": "not-a-token"}, "cluster_permission_insufficient"),
        ({"client_certificate": stranger.certificate, "client_key": stranger.key}, "cluster_permission_insufficient"),
        ({"client_certificate": late.certificate, "client_key": late.key}, "certificate_invalid"),
        ({"client_certificate": good.certificate, "client_key": stranger.key}, "certificate_invalid"),
        ({"client_certificate": "no certificate", "client_key": good.key}, "certificate_invalid"),
        ({"client_certificate": good.certificate, "client_key": "no key"}, "certificate_invalid"),
        ({**pair, "ca": other.pair.certificate}, "certificate_invalid"),
        ({**pair, "ca": "no certificate"}, "certificate_invalid"),
        ({**pair, "ca": None}, "certificate_invalid"),
        ({**pair, "tls_server_name": "another.example"}, "certificate_invalid"),
        ({**pair, "endpoint": "https://127.0.0.1:1"}, "cluster_unreachable"),
        ({**pair, "endpoint": "https://no-such-name.invalid"}, "cluster_unreachable"),
        ({**pair, "endpoint": f"https://[::1]:{kube_api.port}"}, "endpoint_invalid"),
        ({**pair, "insecure_skip_tls_verify": True, "ca": None}, "kubeconfig_unsafe"),
    ]  # fmt: skip
    for parts, key in wrong:
        answer = add(admin, shop, kube_api, **parts)
        assert answer.json["error_key"] == key, (parts.keys(), answer.json)
        assert answer.status_code == (502 if key == "cluster_unreachable" else 422)
    assert admin.get("/clusters").json["items"] == []
    assert told(core, "cluster.created") == []
    failed = told(core, "cluster.import_failed")
    assert [(status, detail["error_key"]) for _, status, detail in failed] == [
        ("failed", key) for _, key in wrong
    ]


def test_what_came_along_with_a_certificate_is_not_kept(
    core: Core, admin: Caller, shop: str, kube_api: KubeApi
) -> None:
    pair = kube_api.authority.issue("someone", ["system:masters"])
    stray = Authority().pair.key
    made = add(
        admin, shop, kube_api, ca=f"{stray}{kube_api.ca}",
        client_certificate=f"a note\n{pair.certificate}{stray}", client_key=pair.key,
    )  # fmt: skip
    assert made.status_code == 201, made.json
    with core.database.read() as session:
        row = session.get_one(Cluster, made.json["id"])
        kept = json.dumps(cluster_connection.opened(core, row).__dict__)
        assert row.ca == kube_api.ca
    assert stray.splitlines()[1] not in kept + whole_database(core)
    assert "a note" not in kept


def test_an_unverified_connection_needs_the_settings_and_is_told_everywhere(
    tmp_path: Path, kube_api: KubeApi, kube_namespace: str
) -> None:
    settings = {"CLUSTER_ADDRESS_ALLOW": "127.0.0.0/8", "CLUSTER_ALLOW_INSECURE_TLS": "true"}
    with installed(tmp_path / "lax", **settings) as core:
        people = People(core, create_app(core))
        admin, shop = people.add("admin", "admin"), people.project("shop")
        document = json.loads(kube_api.kubeconfig.read_text())
        cluster = document["clusters"][0]["cluster"]
        del cluster["certificate-authority-data"]
        cluster["insecure-skip-tls-verify"] = True
        made = bring_in(admin, shop, json.dumps(document))
        assert made.status_code == 201, made.json
        tested = admin.post(f"/clusters/{made.json['id']}/connect/test", {})
        listed = admin.get("/clusters").json["items"][0]
        place = {"cluster_id": "blue", "namespace": kube_namespace}
        target = bind(admin, shop, environment(admin, shop), **place)
        bound = admin.get(f"/deploy/targets/{target.json['id']}").json["cluster_access"]
        for shown in (made.json, tested.json, listed, made.json["last_check"], bound):
            assert shown["warning"] == rules.UNVERIFIED
        assert made.json["insecure_skip_tls_verify"] is True
        assert tested.json["certificate_expires_at"] is not None
        for action in ("created", "import_succeeded", "connection_test_succeeded"):
            assert told(core, f"cluster.{action}")[0][1] == "warning"


def test_loopback_needs_the_settings_too(tmp_path: Path, kube_api: KubeApi) -> None:
    with installed(tmp_path / "strict") as core:
        people = People(core, create_app(core))
        refused = bring_in(people.add("admin", "admin"), people.project("shop"), kube_api.kubeconfig)
        assert (refused.status_code, refused.json["error_key"]) == (422, "endpoint_invalid")
        assert "loopback" in refused.json["detail"]
        assert refused.json["errors"].keys() == {"endpoint"}


def test_the_views_are_read_page_by_page(
    admin: Caller, shop: str, kube_api: KubeApi, kube_namespace: str
) -> None:
    cluster_id = bring_in(admin, shop, kube_api.kubeconfig).json["id"]
    labels = {"app": "x"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "shop:1"}]}}
    for name in ("a", "b", "c"):
        for kind, version, more in (
            ("Deployment", "apps/v1", {"replicas": 0}), ("StatefulSet", "apps/v1", {"replicas": 2}),
            ("DaemonSet", "apps/v1", {}),
        ):  # fmt: skip
            spec = {"selector": {"matchLabels": labels}, "template": template, **more}
            apply(kube_api, kube_namespace, kind, version, name, spec)
    job = {"template": {**template, "spec": {**template["spec"], "restartPolicy": "Never"}}}
    apply(kube_api, kube_namespace, "Job", "batch/v1", "d", job)
    for number in range(3):
        about = {"kind": "Pod", "name": f"web-{number}", "namespace": kube_namespace}
        apply(
            kube_api, kube_namespace, "Event", "v1", f"made-{number}", None,
            involvedObject=about, reason="Tested", message="made by a test", type="Normal", count=number + 1,
        )  # fmt: skip

    path = f"/clusters/{cluster_id}"
    names = kube_api.kubectl(["get", "namespaces", "-o", "name"]).stdout.split()
    found = read_all(admin, f"{path}/namespaces", limit=2)
    assert {f"namespace/{one['name']}" for one in found} >= set(names) - {f"namespace/{kube_namespace}"}
    assert {"name", "status", "created_at"} == set(found[0])

    wanted = [(kind, name) for kind in ("Deployment", "StatefulSet", "DaemonSet") for name in "abc"]
    for limit in (1, 2, 4, 100):
        found = read_all(admin, f"{path}/workloads", limit=limit, namespace=kube_namespace)
        assert [(one["kind"], one["name"]) for one in found] == [*wanted, ("Job", "d")]
    assert (found[3]["wanted"], found[3]["ready"], found[3]["images"]) == (2, 0, ["shop:1"])
    everywhere = admin.get(f"{path}/workloads", limit=500).json["items"]
    assert {one["namespace"] for one in everywhere} >= {kube_namespace}

    found = read_all(admin, f"{path}/events", limit=2, namespace=kube_namespace)
    mine = [one for one in found if one["reason"] == "Tested"]
    assert [(one["object"], one["count"]) for one in mine] == [
        ("Pod/web-0", 1),
        ("Pod/web-1", 2),
        ("Pod/web-2", 3),
    ]
    assert "sort" in str(admin.get(f"{path}/events", sort="name").json["errors"])
    for cursor in ("x", "WzEsMiwzXQ", "bnVsbA", base64.urlsafe_b64encode(b'[0, "unknown", 1]').decode()):
        refused = admin.get(f"{path}/namespaces", cursor=cursor)
        assert (refused.status_code, refused.json["errors"].keys()) == (422, {"cursor"}), refused.json


def apply(
    api: KubeApi, namespace: str, kind: str, version: str, name: str, spec: dict[str, Any] | None, **more: Any
) -> None:
    """Make an object."""
    manifest = {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **more}
    if spec is not None:
        manifest["spec"] = spec
    api.kubectl(["create", "-n", namespace, "-f", "-"], input=json.dumps(manifest))


def read_all(caller: Caller, path: str, limit: int, **query: Any) -> list[dict[str, Any]]:
    """Read a view to its end; no page is longer than was asked."""
    items: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = caller.get(path, limit=limit, **query, **cursor)
        assert page.status_code == 200, page.json
        assert len(page.json["items"]) <= limit
        items += page.json["items"]
        assert page.json["total_estimate"] >= len(items)
        if page.json["next"] is None:
            return items
        cursor = {"cursor": page.json["next"]}


def test_a_view_needs_a_credential_that_may_look(
    admin: Caller, shop: str, deployer: Path, kube_namespace: str
) -> None:
    path = f"/clusters/{bring_in(admin, shop, deployer).json['id']}"
    assert admin.get(f"{path}/workloads", namespace=kube_namespace).status_code == 200
    assert admin.get(f"{path}/events", namespace=kube_namespace).status_code == 200
    for view in ("namespaces", "workloads", "events"):
        refused = admin.get(f"{path}/{view}")
        assert (refused.status_code, refused.json["error_key"]) == (422, "cluster_permission_insufficient")


def test_another_projects_clusters_do_not_exist(
    core: Core, admin: Caller, people: People, shop: str, deployer: Path
) -> None:
    cluster_id = bring_in(admin, shop, deployer).json["id"]
    stranger = people.add("stranger", "operator", project=people.project("bank"))
    for known in (cluster_id, "cls_unknown"):
        path = f"/clusters/{known}"
        asked = [
            stranger.get(path), stranger.delete(path), stranger.post(f"{path}/connect/test", {}),
            connect(stranger, known, kubeconfig=deployer.read_text()), stranger.get(f"{path}/namespaces"),
            stranger.get(f"{path}/workloads"), stranger.get(f"{path}/events"),
        ]  # fmt: skip
        assert [(answer.status_code, answer.json["error_key"]) for answer in asked] == [
            (404, "cluster_not_found")
        ] * len(asked)
    assert bring_in(stranger, shop, deployer).status_code == 404
    assert stranger.get("/clusters").json == {"items": [], "next": None, "total_estimate": 0}


def test_who_may_not_keep_credentials_brings_no_cluster_in(
    core: Core, admin: Caller, people: People, shop: str, deployer: Path
) -> None:
    cluster_id = bring_in(admin, shop, deployer).json["id"]
    viewer = people.add("viewer", "viewer", project=shop)
    assert viewer.get(f"/clusters/{cluster_id}").status_code == 200
    narrow = people.add(
        "narrow", "operator", project=shop, scopes=["deploy:cluster:write", "deploy:cluster:read"]
    )
    refused = [
        viewer.post(f"/clusters/{cluster_id}/connect/test", {}), viewer.delete(f"/clusters/{cluster_id}"),
        bring_in(viewer, shop, deployer, "x"), bring_in(narrow, shop, deployer, "x"),
        connect(narrow, cluster_id, kubeconfig=deployer.read_text()),
    ]  # fmt: skip
    assert [answer.status_code for answer in refused] == [403] * 5
    assert refused[-1].json["permission"] == "deploy:credential:write"
    assert narrow.post(f"/clusters/{cluster_id}/connect/test", {}).status_code == 200


def test_a_name_is_taken_once_in_a_project(admin: Caller, people: People, shop: str, deployer: Path) -> None:
    assert bring_in(admin, shop, deployer).status_code == 201
    again = bring_in(admin, shop, deployer)
    assert (again.status_code, again.json["error_key"]) == (409, "conflict")
    assert bring_in(admin, people.project("bank"), deployer).status_code == 201


def test_what_expires_first_is_listed_first_and_counted(
    core: Core, admin: Caller, anonymous: Any, shop: str, kube_api: KubeApi, kube_namespace: str
) -> None:
    short = kube_api.kubeconfig_for("short", kube_namespace, ENOUGH, seconds=700)
    for name, file in (("a", kube_api.kubeconfig), ("b", short), ("c", kube_api.kubeconfig), ("d", short)):
        assert bring_in(admin, shop, file, name).status_code == 201
    now = datetime.now(UTC)
    with core.database.write() as session:
        rows = {row.name: row for row in session.scalars(select(Cluster))}
        rows["c"].credential_expires_at = None
        rows["d"].credential_expires_at = now - timedelta(hours=1)
    assert rows["b"].credential_expires_at and rows["b"].credential_expires_at < now + timedelta(seconds=800)

    order: list[str] = []
    for sort, wanted in (("credential_expires_at", "dbac"), ("-credential_expires_at", "cabd")):
        cursor: dict[str, str] = {}
        order = []
        while True:
            page = admin.get("/clusters", limit=1, sort=sort, **cursor).json
            order += [one["name"] for one in page["items"]]
            if page["next"] is None:
                break
            cursor = {"cursor": page["next"]}
        assert "".join(order) == wanted
    soon = (now + timedelta(days=1)).isoformat()
    listed = admin.get("/clusters", expires_before=soon, sort="credential_expires_at").json["items"]
    assert [one["name"] for one in listed] == ["d", "b"]
    gauges = dict(
        line.rsplit(" ", 1)
        for line in anonymous.get("/metrics").text.splitlines()
        if line.startswith("tidegate_cluster")
    )
    counted = {word: gauges[f'tidegate_cluster_credentials{{expires="{word}"}}'] for word in
               ("expired", "day", "week", "month", "later", "unknown")}  # fmt: skip
    assert counted == {
        "expired": "1.0", "day": "1.0", "week": "0.0", "month": "0.0", "later": "1.0", "unknown": "1.0",
    }  # fmt: skip
    assert -3700 < float(gauges["tidegate_cluster_credential_expires_seconds"]) < -3500


def test_the_command_line_brings_a_cluster_in_and_shows_it(
    core: Core, admin: Caller, shop: str, deployer: Path, limited: Path, kube_namespace: str
) -> None:
    home = core.settings.home
    (home / "tidegate.toml").write_text('cluster_address_allow = ["127.0.0.0/8"]\n')
    environment(admin, shop)
    with served(home) as url:

        def run(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
            environ = {"PATH": os.environ["PATH"], "HOME": str(home), "COLUMNS": "300"}
            environ |= {"TIDEGATE_URL": url, "TIDEGATE_TOKEN": admin.token}
            return subprocess.run(
                [COMMAND, *words], input=stdin, capture_output=True, text=True, timeout=60, env=environ
            )

        known = ("--project", "shop", "--name", "blue")
        made = run("cluster", "import", *known, "--kubeconfig-file", "-", stdin=deployer.read_text())
        assert made.returncode == 0, made.stderr
        assert "blue" in made.stdout and "ready" in made.stdout
        document = json.loads(deployer.read_text())
        parts = home / "token", home / "ca"
        parts[0].write_text(kube_credentials.token_of(deployer.read_text()) + "\n")
        authority = document["clusters"][0]["cluster"]["certificate-authority-data"]
        parts[1].write_bytes(base64.b64decode(authority))
        added = run(
            "cluster", "add", "--project", "shop", "--name", "green", "--endpoint",
            document["clusters"][0]["cluster"]["server"], "--token-file", str(parts[0]), "--ca-file", str(parts[1]),
        )  # fmt: skip
        assert added.returncode == 0, added.stderr
        way = ("--endpoint", "https://169.254.169.254", "--token-file", "-")
        refused = run("cluster", "add", "--project", "shop", "--name", "red", *way, stdin="a-token")
        assert (refused.returncode, "endpoint_invalid" in refused.stderr) == (2, True), refused.stderr
        assert "a-token" not in refused.stdout + refused.stderr
        tested = run("cluster", "test", "blue", "--namespace", kube_namespace)
        assert tested.returncode == 0, tested.stderr
        assert "latency_ms" in tested.stdout
        bound = run(
            "target", "create", "--project", "shop", "--name", "shop-staging", "--environment", "staging-k8s",
            "--cluster", "blue", "--namespace", kube_namespace,
        )  # fmt: skip
        assert bound.returncode == 0, bound.stderr
        changed = run("cluster", "connection", "blue", "--kubeconfig-file", str(limited))
        assert changed.returncode == 0, changed.stderr
        assert "target shop-staging fails: cluster_permission_insufficient" in changed.stderr
        assert "create deployments.apps" in changed.stderr
        for words, seen in (
            (("list",), "green"), (("show", "blue"), "https://"), (("expiring", "--within", "1"), "blue"),
            (("workloads", "green", "--namespace", kube_namespace, "--json"), '"items": []'),
            (("events", "green", "--namespace", kube_namespace, "--json"), '"items": []'),
        ):  # fmt: skip
            told_ = run("cluster", *words)
            assert (told_.returncode, seen in told_.stdout) == (0, True), (words, told_.stdout, told_.stderr)
        assert run("cluster", "namespaces", "green").returncode == 2
        used = run("cluster", "delete", "blue")
        assert (used.returncode, "shop-staging" in used.stderr) == (7, True)
        assert run("cluster", "delete", "green").returncode == 0
