# SPDX-License-Identifier: Apache-2.0
"""Services, versions, values, archives and credentials: what is kept, what is refused, what is never shown."""

from __future__ import annotations

import io
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from controlplane.services.core import Core
from controlplane.store.tables import Artifact
from tests.api.people import Caller, People

COMPOSE = "services:\n  web:\n    image: shop:{{ version }}\n    environment: {PASSWORD: '{{ password }}'}\n"
SCHEMA = {"version": {"type": "string", "required": True}, "password": {"type": "string", "secret": True}}
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
NO_DIGEST = "sha256:" + "0" * 64


@pytest.fixture
def project(admin: Caller) -> str:
    return str(admin.post("/projects", {"name": "shop"}).get_json()["id"])


@pytest.fixture
def service(admin: Caller, project: str) -> str:
    return str(admin.post("/services", {"project_id": project, "name": "shop"}).get_json()["id"])


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real docker archive, as small as one can be."""
    return small_archive(tmp_path_factory.mktemp("archive") / "shop.tar")


def small_archive(path: Path) -> Path:
    """Write a docker archive with one empty layer."""
    import hashlib
    import json
    import tarfile

    layer = io.BytesIO()
    tarfile.open(fileobj=layer, mode="w").close()
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {
                "type": "layers",
                "diff_ids": ["sha256:" + hashlib.sha256(layer.getvalue()).hexdigest()],
            },
        }
    ).encode()
    name = hashlib.sha256(config).hexdigest() + ".json"
    manifest = json.dumps([{"Config": name, "RepoTags": ["shop:1"], "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(path, "w") as tar:
        for member, data in (("layer.tar", layer.getvalue()), (name, config), ("manifest.json", manifest)):
            info = tarfile.TarInfo(member)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def push(caller: Caller, project: str, content: bytes, **query: str) -> Any:
    return caller.send(
        "POST", "/artifacts", query_string={"project_id": project, **query}, data=content,
        content_type="application/octet-stream",
    )  # fmt: skip


def grow_old(core: Core, digest: str) -> None:
    """Make an archive two days old, which is more than the grace of a day."""
    then = core.clock.now() - timedelta(days=2)
    os.utime(core.artifacts.path(digest), (then.timestamp(), then.timestamp()))
    with core.database.write() as session:
        session.execute(update(Artifact).where(Artifact.digest == digest).values(pushed_at=then))


def version(**changed: Any) -> dict[str, Any]:
    return {"version": "1", "template": COMPOSE, "variable_schema": SCHEMA, **changed}


def test_an_archive_is_kept_once_and_given_back_byte_for_byte(
    admin: Caller, project: str, archive: Path
) -> None:
    first = push(admin, project, archive.read_bytes())
    assert first.status_code == 201
    assert first.get_json()["references"] == ["shop:1"]
    assert push(admin, project, archive.read_bytes()).status_code == 200
    content = admin.get(f"/artifacts/{first.get_json()['digest']}/content")
    assert content.data == archive.read_bytes()


@pytest.mark.parametrize("content", [b"", b"no archive", b"\0" * 10240])
def test_an_archive_that_is_none_leaves_nothing(
    admin: Caller, core: Core, project: str, content: bytes
) -> None:
    answer = push(admin, project, content)
    assert (answer.status_code, answer.get_json()["error_key"]) == (422, "validation_error")
    assert list(core.artifacts.digests()) == []
    assert admin.get("/artifacts").get_json()["items"] == []


def test_a_digest_that_differs_is_refused(admin: Caller, core: Core, project: str, archive: Path) -> None:
    answer = push(admin, project, archive.read_bytes(), digest=NO_DIGEST)
    assert (answer.status_code, answer.get_json()["error_key"]) == (422, "artifact_checksum_mismatch")
    assert list(core.artifacts.digests()) == []


def test_an_archive_that_a_version_names_stays(
    admin: Caller, core: Core, project: str, service: str, archive: Path
) -> None:
    digest = push(admin, project, archive.read_bytes()).get_json()["digest"]
    images = [{"reference": "shop:1", "artifact": digest}]
    assert admin.post(f"/services/{service}/versions", version(images=images)).status_code == 201
    refused = admin.delete(f"/artifacts/{digest}")
    assert (refused.status_code, refused.get_json()["error_key"]) == (409, "artifact_in_use")
    assert admin.post("/artifacts/gc").get_json() == {"removed": 0, "bytes_freed": 0}
    assert admin.delete(f"/services/{service}/versions/1").status_code == 204
    assert admin.get(f"/services/{service}/versions/1").status_code == 404
    assert admin.delete(f"/artifacts/{digest}").status_code == 204
    assert admin.post("/artifacts/gc").get_json() == {"removed": 0, "bytes_freed": 0}
    grow_old(core, digest)
    assert admin.post("/artifacts/gc").get_json() == {"removed": 1, "bytes_freed": archive.stat().st_size}
    assert list(core.artifacts.digests()) == []


def test_an_archive_that_no_version_names_is_collected_when_it_is_old(
    admin: Caller, core: Core, project: str, service: str, archive: Path
) -> None:
    digest = push(admin, project, archive.read_bytes()).get_json()["digest"]
    assert admin.post("/artifacts/gc").get_json()["removed"] == 0
    grow_old(core, digest)
    push(admin, project, archive.read_bytes())
    assert admin.post("/artifacts/gc").get_json()["removed"] == 0, "it was pushed again just now"
    grow_old(core, digest)
    images = [{"reference": "shop:1", "artifact": digest}]
    admin.post(f"/services/{service}/versions", version(images=images))
    assert admin.post("/artifacts/gc").get_json()["removed"] == 0, "a version names it"
    admin.delete(f"/services/{service}/versions/1")
    assert admin.post("/artifacts/gc").get_json()["removed"] == 1
    assert admin.get(f"/artifacts/{digest}").status_code == 404
    assert list(core.artifacts.digests()) == []


@pytest.mark.parametrize(
    ("changed", "error_key"),
    [
        ({"template": "a: [b"}, "compose_invalid"),
        ({"template": "just words"}, "compose_invalid"),
        ({"template": "volumes: {}"}, "compose_invalid"),
        ({"template": "services: {web: nothing}"}, "compose_invalid"),
        ({"template": BOMB + "services: {web: {image: a, command: *i}}"}, "compose_invalid"),
        ({"template": "[" * 5000}, "compose_invalid"),
        ({"template": "services: {web: {image: '{{ other }}'}}"}, "validation_error"),
        ({"template": "services: {web: {image: '{{ version | upper }}'}}"}, "validation_error"),
        ({"template": "services: {web: {image: {{ other }}}}"}, "validation_error"),
        ({"template": "services: {web: {image: 'a:{{ password }}'}}"}, "validation_error"),
        ({"template": "services: {web: {image: a, labels: {b: {{ password }}}}}"}, "validation_error"),
        ({"template": "services: {web: {image: a, environment: ['{{ password }}=1']}}"}, "validation_error"),
        ({"variable_schema": {"version": {"type": "list"}}}, "validation_error"),
        ({"images": [{"reference": "a", "artifact": NO_DIGEST}]}, "artifact_missing"),
        ({"strategy": "yolo"}, "validation_error"),
        ({"strategy": "rolling", "strategy_params": {"weight": 1}}, "validation_error"),
        ({"version": "../1"}, "validation_error"),
        ({"colour": 1}, "validation_error"),
    ],
)
def test_a_version_that_could_never_work_is_not_kept(
    admin: Caller, service: str, changed: dict[str, Any], error_key: str
) -> None:
    answer = admin.post(f"/services/{service}/versions", version(**changed))
    assert (answer.status_code, answer.get_json()["error_key"]) == (422, error_key), answer.get_json()
    assert answer.get_json()["hint"]
    assert admin.get(f"/services/{service}/versions").get_json()["items"] == []


def test_a_version_never_changes(admin: Caller, service: str) -> None:
    made = admin.post(f"/services/{service}/versions", version())
    assert made.status_code == 201
    again = admin.post(f"/services/{service}/versions", version(health_timeout=5))
    assert (again.status_code, again.get_json()["error_key"]) == (409, "conflict")
    assert admin.get(f"/services/{service}/versions/1").get_json() == made.get_json()


def test_secrets_are_kept_and_never_shown(admin: Caller, core: Core, project: str, service: str) -> None:
    admin.post(f"/services/{service}/versions", version())
    environment = admin.post(
        "/environments",
        {"project_id": project, "name": "prod", "stage": "production", "runtime_type": "compose"},
    ).get_json()["id"]
    scope = {"scope_type": "environment", "scope_id": environment, "name": "password"}
    answers = [
        admin.send("PUT", f"/services/{service}/variables", json={**scope, "value": "CANARY-1"}),
        admin.get(f"/services/{service}/variables"),
        admin.post(
            "/registries",
            {"project_id": project, "server": "r:5000", "username": "u", "password": "CANARY-2"},
        ),
        admin.get("/registries"),
        admin.get("/events"),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 201, 200, 200]
    assert answers[1].get_json()["items"][0]["is_secret"]
    assert not any("CANARY" in answer.get_data(as_text=True) for answer in answers)
    files = [path for path in core.settings.home.rglob("*") if path.is_file()]
    assert not any(b"CANARY" in path.read_bytes() for path in files)


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [("version", 1, "value"), ("nothing", "x", "name"), ("version", "x\0", "value")],
)
def test_a_value_that_does_not_fit_is_refused(
    admin: Caller, project: str, service: str, name: str, value: Any, field: str
) -> None:
    admin.post(f"/services/{service}/versions", version())
    environment = admin.post(
        "/environments",
        {"project_id": project, "name": "prod", "stage": "production", "runtime_type": "compose"},
    ).get_json()["id"]
    body = {"scope_type": "environment", "scope_id": environment, "name": name, "value": value}
    answer = admin.send("PUT", f"/services/{service}/variables", json=body)
    assert (answer.status_code, answer.get_json()["error_key"]) == (422, "validation_error")
    assert admin.get(f"/services/{service}/variables").get_json()["items"] == []


def test_another_projects_things_do_not_exist(
    people: People, admin: Caller, project: str, service: str, archive: Path
) -> None:
    digest = push(admin, project, archive.read_bytes()).get_json()["digest"]
    other = admin.post("/projects", {"name": "other"}).get_json()["id"]
    stranger = people.add("stranger", role="operator", project=other)
    for path in (f"/services/{service}", f"/services/{service}/versions", f"/artifacts/{digest}/content"):
        assert stranger.get(path).status_code == 404, path
    assert push(stranger, project, archive.read_bytes()).status_code == 404
    assert stranger.get("/services").get_json()["items"] == []


def test_a_body_of_fifty_megabytes_is_refused(admin: Caller, service: str) -> None:
    answer = admin.send(
        "POST", f"/services/{service}/versions", data=b" " * 50_000_000, content_type="application/json"
    )
    assert (answer.status_code, answer.get_json()["error_key"]) == (413, "payload_too_large")
